//! A whole device as a library and a host process
