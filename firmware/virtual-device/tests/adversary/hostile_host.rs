//! A host that answers with something else than it was asked for.

use crate::scene::Scene;
use airlift_virtual_device::deterministic::{Request, Step};

/// What the device fetches, in the order of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The envelope, before anything is erased.
    Release,
    /// An index page.
    Index,
    /// A range of chunks.
    Blob,
}

/// What is fetched once the update has begun.
pub const BEGUN: [Stage; 2] = [Stage::Index, Stage::Blob];

impl Stage {
    pub fn of(request: &Request) -> Self {
        match request.path.split('/').nth(2) {
            Some("releases") => Self::Release,
            Some("indexes") => Self::Index,
            _ => Self::Blob,
        }
    }
}

/// Answers every request of a stage with what `answer` makes of it and of the whole resource.
pub fn answers(
    scene: &Scene,
    stage: Stage,
    mut answer: impl FnMut(&Request, &[u8]) -> Vec<Step> + 'static,
) {
    scene.bench.host().set_script(move |request, whole| {
        (Stage::of(request) == stage).then(|| answer(request, whole))
    });
}

/// The head of an answer with these fields.
pub fn head(status: &str, fields: &[&str]) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes()
}

/// The right head of the answer to a request.
pub fn right_head(request: &Request, whole: &[u8]) -> Vec<u8> {
    let total = whole.len();
    match &request.range {
        Some(range) => head(
            "206 Partial Content",
            &[
                &format!("Content-Length: {}", range.len()),
                &content_range(request, whole, 0),
            ],
        ),
        None => head("200 OK", &[&format!("Content-Length: {total}")]),
    }
}

/// The field `Content-Range` of what was asked for, moved by so many bytes.
pub fn content_range(request: &Request, whole: &[u8], by: usize) -> String {
    let range = request.range.clone().unwrap_or(0..whole.len());
    let (first, last, total) = (range.start + by, range.end - 1 + by, whole.len());
    format!("Content-Range: bytes {first}-{last}/{total}")
}

/// The right content of the answer to a request.
pub fn right_content(request: &Request, whole: &[u8]) -> Vec<u8> {
    whole[request.range.clone().unwrap_or(0..whole.len())].to_vec()
}

/// An answer at once.
pub fn send(head: Vec<u8>, content: Vec<u8>) -> Vec<Step> {
    vec![Step::Send(head), Step::Send(content)]
}
