//! Makes envelopes and manifests by hand: what no tool of ours would sign.

use crate::kit::*;
use airlift_virtual_device::deterministic::Bench;
use airlift_wire::{Digest, PublicKey, envelope};
use ed25519_dalek::{Signer, SigningKey};

/// Items of CBOR (RFC 8949), each in its shortest form unless said otherwise.
pub mod cbor {
    fn head(major: u8, value: u64) -> Vec<u8> {
        let major = major << 5;
        match value {
            0..=23 => vec![major | value as u8],
            24..=0xFF => vec![major | 24, value as u8],
            0x100..=0xFFFF => [&[major | 25][..], &(value as u16).to_be_bytes()].concat(),
            0x1_0000..=0xFFFF_FFFF => [&[major | 26][..], &(value as u32).to_be_bytes()].concat(),
            _ => [&[major | 27][..], &value.to_be_bytes()].concat(),
        }
    }

    pub fn uint(value: u64) -> Vec<u8> {
        head(0, value)
    }

    /// -1 - n.
    pub fn negative(n: u64) -> Vec<u8> {
        head(1, n)
    }

    pub fn bytes(value: &[u8]) -> Vec<u8> {
        [&head(2, value.len() as u64), value].concat()
    }

    pub fn text(value: &str) -> Vec<u8> {
        [&head(3, value.len() as u64), value.as_bytes()].concat()
    }

    pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [head(4, items.len() as u64), items.concat()].concat()
    }

    /// Keys in the order in which they are given.
    pub fn map(fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut out = head(5, fields.len() as u64);
        for (key, item) in fields {
            out.extend_from_slice(&uint(*key));
            out.extend_from_slice(item);
        }
        out
    }

    pub const NULL: &[u8] = &[0xF6];
}

/// A release whose manifest can be anything, and what it carries.
#[derive(Clone)]
pub struct Draft {
    pub fields: Vec<(u64, Vec<u8>)>,
    parts: Vec<Vec<u8>>,
    pub signer: [u8; 32],
}

/// The private key of somebody whom the device does not trust.
pub const STRANGER: [u8; 32] = [3; 32];

/// Manifest keys.
pub const FORMAT: u64 = 0;
pub const PRODUCT_KEY: u64 = 1;
pub const CHIP_KEY: u64 = 2;
pub const VERSION: u64 = 3;
pub const SEQUENCE: u64 = 4;
pub const CREATED: u64 = 5;
pub const APP: u64 = 6;
pub const FILES: u64 = 7;
pub const KEYS: u64 = 8;

impl Draft {
    /// What is right for the device of a [`crate::scene::Scene`]: an app, and the files as they are.
    pub fn new() -> Self {
        let fields = vec![
            (FORMAT, cbor::uint(1)),
            (PRODUCT_KEY, cbor::text(PRODUCT)),
            (CHIP_KEY, cbor::uint(CHIP.into())),
            (VERSION, cbor::text("2.0.0")),
            (SEQUENCE, cbor::uint(6)),
            (CREATED, cbor::uint(0)),
            (APP, cbor::NULL.to_vec()),
            (FILES, cbor::NULL.to_vec()),
        ];
        let draft = Self {
            fields,
            parts: Vec::new(),
            signer: RELEASE,
        };
        draft.app(&app("2.0.0"))
    }

    pub fn set(mut self, key: u64, item: Vec<u8>) -> Self {
        match self.fields.iter_mut().find(|(k, _)| *k == key) {
            Some(field) => field.1 = item,
            None => self.fields.push((key, item)),
        }
        self
    }

    /// Carries an app.
    pub fn app(self, bytes: &[u8]) -> Self {
        self.carry(APP, bytes, Part::of(bytes))
    }

    /// Carries files and says that they need this many blocks.
    pub fn files(self, tar: &[u8], blocks: u64) -> Self {
        let mut part = Part::of(tar);
        part.blocks = Some(blocks);
        self.carry(FILES, tar, part)
    }

    /// Carries bytes and says something of them.
    pub fn carry(mut self, key: u64, bytes: &[u8], part: Part) -> Self {
        self.parts.push(bytes.to_vec());
        self.set(key, part.item())
    }

    pub fn payload(&self) -> Vec<u8> {
        cbor::map(&self.fields)
    }

    pub fn envelope(&self) -> Vec<u8> {
        sign(&self.signer, &self.payload())
    }

    /// Has the host serve it; its envelope.
    pub fn served(&self, bench: &Bench) -> Vec<u8> {
        let envelope = self.envelope();
        self.serve_as(bench, &envelope);
        envelope
    }

    /// Has the host serve the parts, with any envelope.
    pub fn serve_as(&self, bench: &Bench, envelope: &[u8]) {
        let host = bench.host();
        let id = Digest::of(envelope);
        host.add_resource(format!("/v1/releases/{id}"), &envelope.to_vec().into());
        for part in &self.parts {
            let digest = Digest::of(part);
            host.add_resource(format!("/v1/blobs/{digest}"), &part.clone().into());
            host.add_resource(format!("/v1/indexes/{digest}"), &index_of(part).into());
        }
    }
}

/// What a manifest says of a carried part.
#[derive(Clone)]
pub struct Part {
    pub size: u64,
    pub digest: Digest,
    pub pages: Vec<Digest>,
    pub blocks: Option<u64>,
}

impl Part {
    /// The truth.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
            pages: index_of(bytes).chunks(4096).map(Digest::of).collect(),
            blocks: None,
        }
    }

    pub fn item(&self) -> Vec<u8> {
        let pages: Vec<_> = self.pages.iter().map(|p| cbor::bytes(&p.0)).collect();
        let mut fields = vec![
            (0, cbor::uint(self.size)),
            (1, cbor::bytes(&self.digest.0)),
            (2, cbor::array(&pages)),
        ];
        fields.extend(self.blocks.map(|blocks| (3, cbor::uint(blocks))));
        cbor::map(&fields)
    }
}

/// The hashes of all chunks, concatenated.
pub fn index_of(part: &[u8]) -> Vec<u8> {
    part.chunks(4096).flat_map(|c| Digest::of(c).0).collect()
}

pub fn public(seed: &[u8; 32]) -> PublicKey {
    PublicKey(SigningKey::from_bytes(seed).verifying_key().to_bytes())
}

/// An envelope as it should be, around any payload.
pub fn sign(seed: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    let kid = public(seed).id();
    let mut scratch = [0; envelope::SCRATCH];
    let message = envelope::to_be_signed(kid, payload, &mut scratch).unwrap();
    let signature = SigningKey::from_bytes(seed).sign(message).to_bytes();
    let mut out = [0; 4080];
    let len = envelope::encode(kid, payload, &signature, &mut out).unwrap();
    out[..len].to_vec()
}

/// Signs the Sig_structure of RFC 9052 section 4.4 over anything.
pub fn signature(seed: &[u8; 32], protected: &[u8], aad: &[u8], payload: &[u8]) -> [u8; 64] {
    let structure = cbor::array(&[
        cbor::text("Signature1"),
        cbor::bytes(protected),
        cbor::bytes(aad),
        cbor::bytes(payload),
    ]);
    SigningKey::from_bytes(seed).sign(&structure).to_bytes()
}

/// The protected header `{1: algorithm, 4: kid}`.
pub fn protected(algorithm: Vec<u8>, kid: &[u8]) -> Vec<u8> {
    cbor::map(&[(1, algorithm), (4, cbor::bytes(kid))])
}

/// COSE_Sign1 of any four items.
pub fn cose(protected: &[u8], unprotected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let items = [
        cbor::bytes(protected),
        unprotected.to_vec(),
        cbor::bytes(payload),
        cbor::bytes(signature),
    ];
    [&[0xD2][..], &cbor::array(&items)].concat()
}
