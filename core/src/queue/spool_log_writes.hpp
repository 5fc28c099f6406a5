/// \file
/// Fewer system calls for SQLite's log.
#pragma once

namespace intilery::queue {

/// The name of a file system layer (VFS) for SQLite: its own, but that a transaction reaches the log in one write.
/// SQLite writes each page in two, its header and the page, which are half of what a short transaction costs. What is
/// in the files is the same, and it is there when the transaction has ended. Null if there is none: SQLite's own does.
const char* one_write_vfs();

}  // namespace intilery::queue
