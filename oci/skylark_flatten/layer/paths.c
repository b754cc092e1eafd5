// wasi:filesystem: what is done with a path below a descriptor. The path-flags and open-flags of the WIT have the bits
// of the witx's `lookupflags` and `oflags`.
#include "errors.h"
#include "filesystem.h"
#include "memory.h"
#include "preview1.h"

enum { OPEN_CREATE = 1, OPEN_DIRECTORY = 2, OPEN_EXCLUSIVE = 4, OPEN_TRUNCATE = 8 };

// witx `rights`, those that decide for what WasmEdge opens a file: any of the first group, for reading; any of the
// second, for writing (VINode::pathOpen, lib/host/wasi/vinode.cpp).
enum {
    RIGHT_READ = 1 << 1,
    RIGHT_READDIR = 1 << 14,
    RIGHTS_TO_READ = RIGHT_READ | RIGHT_READDIR,
    RIGHTS_TO_WRITE = 1 << 0 /* datasync */ | 1 << 6 /* write */ | 1 << 8 /* allocate */ | 1 << 22 /* set size */,
};

static u32 fd_of(u32 descriptor) { return get(descriptor, DESCRIPTOR)->file->fd; }

// No more than the parent lets its children have, or the host refuses to open.
static u64 rights_for(u64 inheriting, u32 open_flags, u32 flags)
{
    u64 rights = inheriting;
    if (!(flags & DESCRIPTOR_WRITE))
        rights &= ~(u64)RIGHTS_TO_WRITE;
    // A directory that is opened for nothing at all could not be listed.
    if (!(flags & DESCRIPTOR_READ) && !(open_flags & OPEN_DIRECTORY))
        rights &= ~(u64)RIGHTS_TO_READ;
    return rights;
}

static u32 fdflags_of(u32 flags)
{
    return (flags & DESCRIPTOR_FILE_SYNC ? FDFLAG_SYNC : 0) | (flags & DESCRIPTOR_DATA_SYNC ? FDFLAG_DSYNC : 0) |
           (flags & DESCRIPTOR_WRITE_SYNC ? FDFLAG_RSYNC : 0);
}

struct opening {
    u32 parent, follow, size, open_flags, flags;
    const u8 *path;
};

static u32 open(const struct opening *opening, u32 *fd)
{
    struct fdstat parent;
    u32 error = p1_fd_fdstat_get(opening->parent, &parent);
    if (error)
        return error;
    return p1_path_open(opening->parent, opening->follow, opening->path, opening->size, opening->open_flags,
                        rights_for(parent.inheriting, opening->open_flags, opening->flags), parent.inheriting,
                        fdflags_of(opening->flags), fd);
}

// WasmEdge takes the right to stat what is below from every descriptor that was not asked for as a directory
// (VINode::pathOpen), so a directory is opened once more and asked for as one.
static u32 open_again_if_directory(struct opening *opening, u32 *fd)
{
    struct fdstat stat;
    if (opening->open_flags || opening->flags & DESCRIPTOR_WRITE)
        return E_SUCCESS;
    if (p1_fd_fdstat_get(*fd, &stat) || stat.filetype != FILETYPE_DIRECTORY)
        return E_SUCCESS;
    p1_fd_close(*fd);
    opening->open_flags = OPEN_DIRECTORY;
    return open(opening, fd);
}

EXPORT("wasi:filesystem/types#[method]descriptor.open-at")
void open_at(u32 descriptor, u32 follow, const u8 *path, u32 size, u32 open_flags, u32 flags, u8 *result)
{
    // What must not exist yet is not looked for behind a link (POSIX, open, O_EXCL); WasmEdge would make its target.
    follow = open_flags & OPEN_EXCLUSIVE ? 0 : follow;
    struct opening opening = {fd_of(descriptor), follow, size, open_flags, flags, path};
    struct file *file = NULL;
    u32 fd, error = open(&opening, &fd);
    if (!error)
        error = open_again_if_directory(&opening, &fd);
    if (!error && !(file = file_new(fd, FILE_PATH)))
        error = E_NOMEM;
    if (error) {
        answer_error(result, 4, filesystem_error(error));
        return;
    }
    file->fdflags = (u8)fdflags_of(flags);
    answer_u32(result, descriptor_for(file, flags));
}

// WasmEdge follows a link at the end of a path that is to be made or removed (VINode::pathCreateDirectory and
// pathRemoveDirectory, lib/host/wasi/vinode.cpp): it would remove the directory behind it.
static bool is_link(u32 fd, const u8 *path, u32 size)
{
    struct filestat stat;
    return p1_path_filestat_get(fd, 0, path, size, &stat) == E_SUCCESS && stat.filetype == FILETYPE_LINK;
}

EXPORT("wasi:filesystem/types#[method]descriptor.create-directory-at")
void create_directory_at(u32 descriptor, const u8 *path, u32 size, u8 *result)
{
    u32 fd = fd_of(descriptor);
    answer_filesystem(result, is_link(fd, path, size) ? E_EXIST : p1_path_create_directory(fd, path, size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.remove-directory-at")
void remove_directory_at(u32 descriptor, const u8 *path, u32 size, u8 *result)
{
    u32 fd = fd_of(descriptor);
    answer_filesystem(result, is_link(fd, path, size) ? E_NOTDIR : p1_path_remove_directory(fd, path, size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.unlink-file-at")
void unlink_file_at(u32 descriptor, const u8 *path, u32 size, u8 *result)
{
    answer_filesystem(result, p1_path_unlink_file(fd_of(descriptor), path, size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.link-at")
void link_at(u32 descriptor, u32 follow, const u8 *path, u32 size, u32 to, const u8 *new_path, u32 new_size, u8 *result)
{
    answer_filesystem(result, p1_path_link(fd_of(descriptor), follow, path, size, fd_of(to), new_path, new_size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.symlink-at")
void symlink_at(u32 descriptor, const u8 *target, u32 target_size, const u8 *path, u32 size, u8 *result)
{
    answer_filesystem(result, p1_path_symlink(target, target_size, fd_of(descriptor), path, size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.stat-at")
void stat_at(u32 descriptor, u32 follow, const u8 *path, u32 size, u8 *result)
{
    struct filestat stat;
    answer_stat(result, p1_path_filestat_get(fd_of(descriptor), follow, path, size, &stat), &stat);
}

EXPORT("wasi:filesystem/types#[method]descriptor.metadata-hash-at")
void metadata_hash_at(u32 descriptor, u32 follow, const u8 *path, u32 size, u8 *result)
{
    struct filestat stat;
    answer_metadata_hash(result, p1_path_filestat_get(fd_of(descriptor), follow, path, size, &stat), &stat);
}

EXPORT("wasi:filesystem/types#[method]descriptor.set-times-at")
void set_times_at(u32 descriptor, u32 follow, const u8 *path, u32 size, u32 access, u64 access_seconds,
                  u32 access_nanoseconds, u32 change, u64 change_seconds, u32 change_nanoseconds, u8 *result)
{
    struct times times;
    u32 error = times_of(&times, access, access_seconds, access_nanoseconds, change, change_seconds,
                         change_nanoseconds);
    if (!error)
        error = p1_path_filestat_set_times(fd_of(descriptor), follow, path, size, times.accessed, times.modified,
                                           times.flags);
    answer_filesystem(result, error);
}

// The target of a link, in `passing`: preview 1 cuts off what finds no room.
static u32 read_link(u32 fd, const u8 *path, u32 size, u32 *target_size)
{
    for (u32 room_size = 1024;; room_size *= 2) {
        u32 error = p1_path_readlink(fd, path, size, room(&passing, room_size), room_size, target_size);
        if (error || *target_size < room_size)
            return error;
    }
}

EXPORT("wasi:filesystem/types#[method]descriptor.readlink-at")
void readlink_at(u32 descriptor, const u8 *path, u32 size, u8 *result)
{
    u32 target_size = 0, error = read_link(fd_of(descriptor), path, size, &target_size);
    if (error) {
        answer_error(result, 4, filesystem_error(error));
        return;
    }
    answer_ok(result);
    put_list(result, 4, component_copy(passing.data, target_size), target_size);
}

// Makes the link anew: what was at the new path goes first, so this is not one step.
static u32 rename_link(u32 fd, const u8 *path, u32 size, u32 new_fd, const u8 *new_path, u32 new_size, bool replaces)
{
    u32 target_size, error = read_link(fd, path, size, &target_size);
    if (!error && replaces)
        error = p1_path_unlink_file(new_fd, new_path, new_size);
    if (!error)
        error = p1_path_symlink(passing.data, target_size, new_fd, new_path, new_size);
    return error ? error : p1_path_unlink_file(fd, path, size);
}

// WasmEdge renames what a link points to instead of the link, and replaces what a link points to: VINode::pathRename
// resolves both paths with links followed (lib/host/wasi/vinode.cpp).
static u32 rename(u32 fd, const u8 *path, u32 size, u32 new_fd, const u8 *new_path, u32 new_size)
{
    struct filestat old, new;
    u32 error = p1_path_filestat_get(fd, 0, path, size, &old);
    if (error)
        return error;
    bool replaces = p1_path_filestat_get(new_fd, 0, new_path, new_size, &new) == E_SUCCESS;
    // Two names of one file: rename does nothing (POSIX).
    if (replaces && old.device == new.device && old.inode == new.inode)
        return E_SUCCESS;
    if (old.filetype == FILETYPE_LINK)
        return rename_link(fd, path, size, new_fd, new_path, new_size, replaces);
    if (replaces && new.filetype == FILETYPE_LINK) {
        error = old.filetype == FILETYPE_DIRECTORY ? E_NOTDIR : p1_path_unlink_file(new_fd, new_path, new_size);
        if (error)
            return error;
    }
    return p1_path_rename(fd, path, size, new_fd, new_path, new_size);
}

EXPORT("wasi:filesystem/types#[method]descriptor.rename-at")
void rename_at(u32 descriptor, const u8 *path, u32 size, u32 to, const u8 *new_path, u32 new_size, u8 *result)
{
    answer_filesystem(result, rename(fd_of(descriptor), path, size, fd_of(to), new_path, new_size));
}
