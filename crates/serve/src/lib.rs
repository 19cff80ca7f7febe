//! The chunk server
