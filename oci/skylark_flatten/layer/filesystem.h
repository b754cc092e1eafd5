// What the files on wasi:filesystem share.
#pragma once
#include "handles.h"
#include "preview1.h"

// `descriptor-flags`, in the order of the WIT.
enum {
    DESCRIPTOR_READ = 1,
    DESCRIPTOR_WRITE = 2,
    DESCRIPTOR_FILE_SYNC = 4,
    DESCRIPTOR_DATA_SYNC = 8,
    DESCRIPTOR_WRITE_SYNC = 16,
    DESCRIPTOR_MUTATE_DIRECTORY = 32,
};

u32 descriptor_for(struct file *file, u32 flags);

// Whether the first folder that the program was given is `/`, as in a container.
bool root_is_preopened(void);

// `descriptor-type` of a witx `filetype`.
u32 descriptor_type(u32 filetype);

// `result<descriptor-stat, error-code>` and `result<metadata-hash-value, error-code>`.
void answer_stat(u8 *result, u32 error, const struct filestat *stat);
void answer_metadata_hash(u8 *result, u32 error, const struct filestat *stat);

// Two `new-timestamp`s as preview 1 takes them.
struct times {
    u64 accessed, modified;  // nanoseconds
    u32 flags;               // witx `fstflags`
};
u32 times_of(struct times *times, u32 access, u64 access_seconds, u32 access_nanoseconds, u32 change,
             u64 change_seconds, u32 change_nanoseconds);
