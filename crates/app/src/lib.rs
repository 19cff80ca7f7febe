//! The use cases of Airlift
