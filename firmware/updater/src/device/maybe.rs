//! An option whose empty value is all zeros.

/// As [`Option`], but nothing is zeros: a static that is empty at first takes no flash. An `Option`
/// puts its mark into a value of its content, which is seldom zero.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Maybe<T> {
    /// `None`
    Nothing,
    /// `Some`
    Just(T),
}

impl<T> Maybe<T> {
    pub const fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Nothing => None,
            Self::Just(value) => Some(value),
        }
    }
}

impl<T: Copy> Maybe<T> {
    pub fn get(&self) -> Option<T> {
        self.as_ref().copied()
    }
}
