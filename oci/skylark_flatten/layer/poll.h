// Waiting for clocks and for the host's descriptors.
#pragma once
#include "handles.h"

#define NEVER (~0ull)

// Nanoseconds of the monotonic clock.
u64 now(void);

// A new pollable for a file, which it keeps open.
u32 pollable_for(struct file *file, enum pollable_kind kind);

// Whether the file is ready now, and until it is.
bool is_ready(struct file *file, enum pollable_kind kind);
void wait_until_ready(struct file *file, enum pollable_kind kind);

// Sends what is pending of any socket, until nothing is or until `deadline`.
void flush_until(u64 deadline);
