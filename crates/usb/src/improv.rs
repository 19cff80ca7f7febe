//! Gives a board that runs its Wi-Fi.
