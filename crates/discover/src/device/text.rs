//! The rules for each field, as functions for `deserialize_with`.
//!
//! The text of a field is bounded before it is kept; the whole JSON is bounded before it is read.

use std::marker::PhantomData;

use airlift_wire::text::is_printable;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{
    MAX_CHIP, MAX_CODE, MAX_DETAIL, MAX_NAME, MAX_PRODUCT, MAX_SLOTS, MAX_VERSION, SCHEMA, SlotInfo,
};

/// The longest UTF-8 encoding of one character, in bytes.
const CHAR: usize = 4;

pub(super) fn schema<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let schema = u32::deserialize(from)?;
    if schema != SCHEMA {
        return Err(D::Error::custom(format!(
            "schema {schema}, this version reads {SCHEMA}"
        )));
    }
    Ok(schema)
}

pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = bounded(from, MAX_NAME * CHAR)?;
    if text.chars().count() > MAX_NAME || !text.chars().all(is_printable) {
        return Err(D::Error::custom(format!(
            "name: expected at most {MAX_NAME} printable characters"
        )));
    }
    Ok(text)
}

pub(super) fn product<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    PRODUCT.read(from)
}

pub(super) fn chip<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    CHIP.read(from)
}

pub(super) fn code<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_option(Nullable(CODE))
}

pub(super) fn version<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_option(Nullable(VERSION))
}

pub(super) fn detail<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_option(Nullable(DETAIL))
}

pub(super) fn by<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_option(Nullable(BY))
}

pub(super) fn slots<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SlotInfo>, D::Error> {
    let slots: Vec<SlotInfo> = from.deserialize_seq(AtMost::new("slots", MAX_SLOTS))?;
    for (n, slot) in slots.iter().enumerate() {
        if slots
            .iter()
            .take(n)
            .any(|earlier| earlier.slot == slot.slot)
        {
            return Err(D::Error::custom(format!(
                "slots: {} is listed twice",
                slot.slot
            )));
        }
    }
    Ok(slots)
}

/// Text of at most `max` bytes.
pub(super) fn bounded<'de, D: Deserializer<'de>>(from: D, max: usize) -> Result<String, D::Error> {
    struct Bounded(usize);
    impl Visitor<'_> for Bounded {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "text of at most {} bytes", self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            if text.len() > self.0 {
                Err(E::invalid_length(text.len(), &self))
            } else {
                Ok(text.to_owned())
            }
        }
    }
    from.deserialize_str(Bounded(max))
}

/// What a text may be: how long, in bytes, and of which characters.
#[derive(Clone, Copy)]
struct Rule {
    field: &'static str,
    max: usize,
    letters: Letters,
}

#[derive(Clone, Copy)]
enum Letters {
    /// `a-z`, `0-9` and these; at least one.
    Word(&'static str),
    /// Anything [printable](is_printable).
    Printable,
}

const PRODUCT: Rule = Rule {
    field: "product",
    max: MAX_PRODUCT,
    letters: Letters::Word("._-"),
};
const CHIP: Rule = Rule {
    field: "chip",
    max: MAX_CHIP,
    letters: Letters::Word(""),
};
const CODE: Rule = Rule {
    field: "code",
    max: MAX_CODE,
    letters: Letters::Word("_"),
};
const VERSION: Rule = Rule {
    field: "version",
    max: MAX_VERSION,
    letters: Letters::Printable,
};
const DETAIL: Rule = Rule {
    field: "detail",
    max: MAX_DETAIL,
    letters: Letters::Printable,
};
const BY: Rule = Rule {
    field: "by",
    max: MAX_NAME,
    letters: Letters::Printable,
};

impl Rule {
    fn read<'de, D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        let Self {
            field,
            max,
            letters,
        } = self;
        let text = bounded(from, max)?;
        match letters {
            Letters::Word(marks) => {
                let letter =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || marks.contains(c);
                if text.is_empty() || !text.chars().all(letter) {
                    return Err(D::Error::custom(format!(
                        "{field}: expected 1 to {max} characters of a-z0-9{marks}"
                    )));
                }
            }
            Letters::Printable => {
                if !text.chars().all(is_printable) {
                    return Err(D::Error::custom(format!(
                        "{field}: expected printable characters"
                    )));
                }
            }
        }
        Ok(text)
    }
}

/// Reads `null` as `None` and anything else by the rule.
struct Nullable(Rule);

impl<'de> Visitor<'de> for Nullable {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} as text, or null", self.0.field)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        self.0.read(from).map(Some)
    }
}

/// Reads a list and refuses the element after the last one that is allowed.
pub(super) struct AtMost<T> {
    field: &'static str,
    max: usize,
    of: PhantomData<T>,
}

impl<T> AtMost<T> {
    pub(super) fn new(field: &'static str, max: usize) -> Self {
        Self {
            field,
            max,
            of: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtMost<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: a list of at most {}", self.field, self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.max {
                return Err(A::Error::custom(format!(
                    "{}: more than {}",
                    self.field, self.max
                )));
            }
            items.push(item);
        }
        Ok(items)
    }
}
