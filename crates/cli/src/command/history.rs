//! `airlift history`

use crate::args::History;
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_app::dto::{End, HistoryRow};
use serde::Serialize;

/// An update as scripts see it.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    job: u32,
    device: &'a str,
    device_name: &'a str,
    product: &'a str,
    release: &'a str,
    from_version: Option<&'a str>,
    to_version: &'a str,
    /// Unix seconds.
    started: f64,
    ended: Option<f64>,
    /// `null` while it runs.
    end: Option<End>,
    code: Option<&'a str>,
    summary: &'a str,
    kept: u32,
    fetched: u32,
    refused: u32,
}

impl<'a> From<&'a HistoryRow> for Line<'a> {
    fn from(row: &'a HistoryRow) -> Self {
        Self {
            schema: 1,
            job: row.job,
            device: &row.device,
            device_name: &row.device_name,
            product: &row.product,
            release: &row.release,
            from_version: row.from_version.as_deref(),
            to_version: &row.to_version,
            started: row.started,
            ended: row.ended,
            end: row.end,
            code: row.code.as_deref(),
            summary: &row.summary,
            kept: row.kept,
            fetched: row.fetched,
            refused: row.refused,
        }
    }
}

pub async fn run(args: History) -> Result<u8, Failure> {
    let app = super::open(false).await?;
    let rows = app.history().await;
    app.close().await;
    let rows = rows?;
    if args.json {
        for row in &rows {
            output::json(&Line::from(row))?;
        }
    } else if rows.is_empty() {
        output::line("No update has been made from here.")?;
    } else {
        print(&rows)?;
    }
    Ok(exit::DONE)
}

/// A code without an end: the process that ran it is gone.
fn end(row: &HistoryRow) -> &'static str {
    match (row.end, &row.code) {
        (None, Some(_)) => "interrupted",
        (end, _) => output::end(end),
    }
}

fn print(rows: &[HistoryRow]) -> Result<(), Failure> {
    let head = [
        "STARTED (UTC)",
        "DEVICE",
        "PRODUCT",
        "FROM",
        "TO",
        "END",
        "",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        table.push(vec![
            output::utc(row.started),
            row.device_name.clone(),
            row.product.clone(),
            row.from_version.clone().unwrap_or_else(|| "-".to_owned()),
            row.to_version.clone(),
            end(row).to_owned(),
            row.summary.clone(),
        ]);
    }
    output::table(&table)
}
