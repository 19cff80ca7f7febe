//! Who is on the LAN
