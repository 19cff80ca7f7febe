//! A thin safe wrapper over littlefs 2
