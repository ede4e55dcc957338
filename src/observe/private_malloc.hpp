// private_malloc: a malloc that nobody holds the lock of, for the copy of a process that overflowed a stack.
//
// A recursion that allocates dies inside malloc more often than not: malloc's frames are the deepest. The copy
// has the arena's lock as it was, held for ever, and everything that could give names allocates. So the copy,
// which lives for a moment and has one thread, gets another malloc: a jump is written over the first bytes
// of malloc, free and their like. Only its own pages change; the process itself never does this.
//
// Rejected: pthread_create for a thread with another arena (it allocates first), dlmopen for another libc (the
// same), an allocator linked into the program (not a library's business), names without lines from a reader of
// our own (longer than this, and less).
#pragma once

namespace weft::rt {

// False: not done (a sanitizer's malloc, a system that forbids to write code); malloc is as it was.
bool use_private_malloc();

}  // namespace weft::rt
