// private_malloc: a malloc that nobody holds the lock of, for the copy of a process that reports its death (child.hpp).
//
// Everything that could give names allocates, and malloc is what the copy cannot count on: another thread that
// was inside malloc holds the lock for ever there, and a recursion that allocates dies inside malloc more often
// than not, for its frames are the deepest. So the copy, which lives for a moment and has one thread, gets
// another malloc: a jump is written over the first bytes of malloc, free and their like. Only its own pages
// change; the process itself never does this.
//
// Rejected: fork (its handlers wait for malloc's lock), pthread_create for a thread with another arena (allocates
// first), dlmopen for another libc (the same), an allocator linked into the program (not a library's
// business), names without lines from a reader of our own (longer than this, and less).
#pragma once

namespace weft::rt {

// False: the system forbids to write code. Then malloc is as it was.
bool use_private_malloc();

}  // namespace weft::rt
