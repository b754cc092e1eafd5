// One round of waiting: files are asked for, each direction once, then the host is called. Files with pending bytes are
// asked for in every round, so that what a program has written goes out while it waits for something else.
#pragma once
#include "handles.h"

void begin_round(void);
void ask(struct file *file, u32 direction);
bool anything_asked(void);

// Returns when something has happened or at `deadline` (NEVER: not before something has), now and then for nothing.
void run_round(u64 deadline);
bool has_happened(const struct file *file, u32 direction);

// Whether the host can wait for the file: not for a regular file or /dev/null, which are always ready.
bool waiting_is_possible(struct file *file, u32 direction);
