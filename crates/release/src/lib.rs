//! Make, sign, open and check an Airlift release
