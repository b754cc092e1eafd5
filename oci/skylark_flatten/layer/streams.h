// Reading and writing, whatever is behind a stream.
#pragma once
#include "handles.h"

// The most that one read brings and one write takes.
enum { LARGEST_TRANSFER = 65536 };

// What comes without waiting, to `to`: an errno, END_OF_STREAM, or E_AGAIN when there is nothing yet.
u32 stream_read(struct handle *stream, u8 *to, u32 size, u32 *count);

// All of it. A file and a standard stream may block; a socket does not.
u32 stream_write(struct handle *stream, const u8 *from, u32 size);

u32 file_pread(struct file *file, u8 *to, u32 size, u64 position, u32 *count);
u32 file_pwrite(struct file *file, const u8 *from, u32 size, u64 position, u32 *count);
