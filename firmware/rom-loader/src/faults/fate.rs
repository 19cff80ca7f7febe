//! Which fault comes at which command.

use std::collections::HashMap;

use super::{Action, Faults, Rule, When};
use crate::packet::Command;

/// Counts commands and says what goes wrong at each.
#[derive(Debug)]
pub(crate) struct Fate {
    rules: Vec<Rule>,
    counts: HashMap<Option<Command>, u32>,
    chance: Chance,
}

impl Fate {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self {
            rules: faults.rules.clone(),
            counts: HashMap::new(),
            chance: Chance(faults.seed),
        }
    }

    /// What goes wrong at this command, which is one more of its kind. Commands that are unknown
    /// count for `any`.
    pub(crate) fn of(&mut self, command: Option<Command>) -> Option<Action> {
        let mut count = |key| {
            let count = self.counts.entry(key).or_default();
            *count += 1;
            *count
        };
        let of_all = count(None);
        let of_kind = command.map_or(0, |command| count(Some(command)));
        for rule in &self.rules {
            let nth = match rule.command {
                None => of_all,
                Some(expected) if Some(expected) == command => of_kind,
                Some(_) => continue,
            };
            let happens = match rule.when {
                When::Nth(n) => nth == n,
                When::From(n) => nth >= n,
                When::Chance(percent) => self.chance.below(100) < percent.into(),
            };
            if happens {
                return Some(rule.action);
            }
        }
        None
    }

    pub(crate) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }
}

/// Numbers that look like chance and are the same for the same seed (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_the_commands_of_its_kind() {
        let mut fate = Fate::new(&Faults::rule("flash_data:2:silence").unwrap());
        assert_eq!(fate.of(Some(Command::FlashData)), None);
        assert_eq!(fate.of(Some(Command::Sync)), None);
        assert_eq!(fate.of(Some(Command::FlashData)), Some(Action::Silence));
        assert_eq!(fate.of(Some(Command::FlashData)), None);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let mut faults = Faults::rule("any:50%:noise").unwrap();
        let outcome = |faults: &Faults| {
            let mut fate = Fate::new(faults);
            let happens = |_| fate.of(None).is_some();
            (0..64).map(happens).collect::<Vec<_>>()
        };
        let first = outcome(&faults);
        assert_eq!(first, outcome(&faults));
        faults.seed = 1;
        assert_ne!(first, outcome(&faults));
        let count = first.iter().filter(|happened| **happened).count();
        assert!((16..48).contains(&count), "{count} of 64");
    }
}
