//! The formats that a host and a device both speak
