//! What an attack is, and how a table of them becomes tests.

use airlift_wire::ErrorCode;

/// One row: what somebody tries, and what comes of it.
#[derive(Debug)]
pub struct Attack {
    /// The name of its test.
    pub name: &'static str,
    /// What the lists of others call it: TUF's attacks, RFC 9124's threats. May be empty.
    pub threat: &'static str,
    /// What the attacker does: "Serves …".
    pub attacker: &'static str,
    /// What the device does: "Refuses it …".
    pub device: &'static str,
    /// The stable code that is seen; none when the update ends well all the same.
    pub code: Option<ErrorCode>,
    /// The mutant that takes the defence out, in `tests/mutants/adversary.toml`.
    pub mutant: &'static str,
}

/// The attacks of one family.
pub struct Family {
    /// Title.
    pub title: &'static str,
    /// Rows.
    pub attacks: &'static [Attack],
}

impl Attack {
    /// The code as scripts see it.
    pub fn code(&self) -> &'static str {
        self.code.map_or("", ErrorCode::as_str)
    }
}

/// Makes the table of a family, and one test of each row: it calls the function of that name with
/// the row.
macro_rules! attacks {
    ($title:literal; $($name:ident {
        threat: $threat:expr,
        attacker: $attacker:expr,
        device: $device:expr,
        code: $code:expr,
        mutant: $mutant:expr,
    })*) => {
        pub const FAMILY: $crate::attack::Family = $crate::attack::Family {
            title: $title,
            attacks: &[$($crate::attack::Attack {
                name: stringify!($name),
                threat: $threat,
                attacker: $attacker,
                device: $device,
                code: $code,
                mutant: $mutant,
            }),*],
        };

        mod attack_tests {
            $(#[test]
            fn $name() {
                let mut all = super::FAMILY.attacks.iter();
                let row = all.find(|attack| attack.name == stringify!($name));
                super::$name(row.expect("each test has a row"));
            })*
        }
    };
}

pub(crate) use attacks;
