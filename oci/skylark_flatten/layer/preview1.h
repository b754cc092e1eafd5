// The functions of the host: WASI preview 1 (wasi_snapshot_preview1.witx) and WasmEdge's sockets. The latter have no
// witx; their signatures are those of WasmEdge's include/host/wasi/wasifunc.h, the meaning of their arguments is in
// lib/host/wasi/wasifunc.cpp (the classes named WasiSock...V2), their constants in wasi/api.hpp.
#pragma once
#include "abi.h"

#define HOST(name) IMPORT("wasi_snapshot_preview1", name)

// witx `iovec`; one is enough for all that the layer does.
struct span {
    void *data;
    u32 size;
};

HOST("args_sizes_get") u32 p1_args_sizes_get(u32 *count, u32 *size);
HOST("args_get") u32 p1_args_get(u8 **list, u8 *buffer);
HOST("environ_sizes_get") u32 p1_environ_sizes_get(u32 *count, u32 *size);
HOST("environ_get") u32 p1_environ_get(u8 **list, u8 *buffer);
HOST("clock_time_get") u32 p1_clock_time_get(u32 clock, u64 precision, u64 *time);
HOST("clock_res_get") u32 p1_clock_res_get(u32 clock, u64 *resolution);
HOST("random_get") u32 p1_random_get(void *buffer, u32 size);
HOST("poll_oneoff") u32 p1_poll_oneoff(const void *subscriptions, void *events, u32 count, u32 *event_count);
HOST("proc_exit") _Noreturn void p1_proc_exit(u32 status);

HOST("fd_advise") u32 p1_fd_advise(u32 fd, u64 offset, u64 length, u32 advice);
HOST("fd_close") u32 p1_fd_close(u32 fd);
HOST("fd_datasync") u32 p1_fd_datasync(u32 fd);
HOST("fd_sync") u32 p1_fd_sync(u32 fd);
HOST("fd_fdstat_get") u32 p1_fd_fdstat_get(u32 fd, void *fdstat);
HOST("fd_fdstat_set_flags") u32 p1_fd_fdstat_set_flags(u32 fd, u32 flags);
HOST("fd_filestat_get") u32 p1_fd_filestat_get(u32 fd, void *filestat);
HOST("fd_filestat_set_size") u32 p1_fd_filestat_set_size(u32 fd, u64 size);
HOST("fd_filestat_set_times") u32 p1_fd_filestat_set_times(u32 fd, u64 accessed, u64 modified, u32 flags);
HOST("fd_pread") u32 p1_fd_pread(u32 fd, const struct span *to, u32 spans, u64 offset, u32 *count);
HOST("fd_pwrite") u32 p1_fd_pwrite(u32 fd, const struct span *from, u32 spans, u64 offset, u32 *count);
HOST("fd_read") u32 p1_fd_read(u32 fd, const struct span *to, u32 spans, u32 *count);
HOST("fd_write") u32 p1_fd_write(u32 fd, const struct span *from, u32 spans, u32 *count);
HOST("fd_prestat_get") u32 p1_fd_prestat_get(u32 fd, void *prestat);
HOST("fd_prestat_dir_name") u32 p1_fd_prestat_dir_name(u32 fd, void *name, u32 size);
HOST("fd_readdir") u32 p1_fd_readdir(u32 fd, void *buffer, u32 size, u64 cookie, u32 *used);

HOST("path_create_directory") u32 p1_path_create_directory(u32 fd, const u8 *path, u32 size);
HOST("path_filestat_get") u32 p1_path_filestat_get(u32 fd, u32 follow, const u8 *path, u32 size, void *filestat);
HOST("path_filestat_set_times")
u32 p1_path_filestat_set_times(u32 fd, u32 follow, const u8 *path, u32 size, u64 accessed, u64 modified, u32 flags);
HOST("path_link")
u32 p1_path_link(u32 fd, u32 follow, const u8 *path, u32 size, u32 new_fd, const u8 *new_path, u32 new_size);
HOST("path_open")
u32 p1_path_open(u32 fd, u32 follow, const u8 *path, u32 size, u32 oflags, u64 rights, u64 inheriting, u32 fdflags,
                 u32 *opened);
HOST("path_readlink") u32 p1_path_readlink(u32 fd, const u8 *path, u32 size, void *to, u32 room, u32 *used);
HOST("path_remove_directory") u32 p1_path_remove_directory(u32 fd, const u8 *path, u32 size);
HOST("path_rename")
u32 p1_path_rename(u32 fd, const u8 *path, u32 size, u32 new_fd, const u8 *new_path, u32 new_size);
HOST("path_symlink") u32 p1_path_symlink(const u8 *target, u32 target_size, u32 fd, const u8 *path, u32 size);
HOST("path_unlink_file") u32 p1_path_unlink_file(u32 fd, const u8 *path, u32 size);

// An address argument is a span of 4 or 16 bytes (the family follows from the size) or of 128 bytes, whose first two
// are the family (struct WasiAddrStorage, include/host/wasi/environ.h); results need the last form.
HOST("sock_open_v2") u32 p1_sock_open(u32 family, u32 type, u32 *fd);
HOST("sock_bind_v2") u32 p1_sock_bind(u32 fd, const struct span *address, u32 port);
HOST("sock_listen_v2") u32 p1_sock_listen(u32 fd, u32 backlog);
HOST("sock_accept_v2") u32 p1_sock_accept(u32 fd, u32 fdflags, u32 *accepted);
HOST("sock_connect_v2") u32 p1_sock_connect(u32 fd, const struct span *address, u32 port);
HOST("sock_recv_v2") u32 p1_sock_recv(u32 fd, const struct span *to, u32 spans, u32 flags, u32 *count, u16 *roflags);
HOST("sock_send_v2") u32 p1_sock_send(u32 fd, const struct span *from, u32 spans, u32 flags, u32 *count);
HOST("sock_recv_from_v2")
u32 p1_sock_recv_from(u32 fd, const struct span *to, u32 spans, const struct span *address, u32 flags, u16 *port,
                      u32 *count, u16 *roflags);
HOST("sock_send_to_v2")
u32 p1_sock_send_to(u32 fd, const struct span *from, u32 spans, const struct span *address, u32 port, u32 flags,
                    u32 *count);
HOST("sock_shutdown") u32 p1_sock_shutdown(u32 fd, u32 directions);
HOST("sock_setsockopt") u32 p1_sock_setsockopt(u32 fd, u32 level, u32 name, const void *value, u32 size);
HOST("sock_getsockopt") u32 p1_sock_getsockopt(u32 fd, u32 level, u32 name, void *value, u32 *size);
HOST("sock_getlocaladdr_v2") u32 p1_sock_getlocaladdr(u32 fd, const struct span *address, u32 *port);
HOST("sock_getpeeraddr_v2") u32 p1_sock_getpeeraddr(u32 fd, const struct span *address, u32 *port);
HOST("sock_getaddrinfo")
u32 p1_sock_getaddrinfo(const u8 *name, u32 name_size, const u8 *service, u32 service_size, const void *hints,
                        void **results, u32 room, u32 *count);

// witx `errno`, in its order; then those that WasmEdge adds for sock_getaddrinfo (wasi/api.hpp, __WASI_ERRNO_AI...).
enum {
    E_SUCCESS, E_2BIG, E_ACCES, E_ADDRINUSE, E_ADDRNOTAVAIL, E_AFNOSUPPORT, E_AGAIN, E_ALREADY, E_BADF, E_BADMSG,
    E_BUSY, E_CANCELED, E_CHILD, E_CONNABORTED, E_CONNREFUSED, E_CONNRESET, E_DEADLK, E_DESTADDRREQ, E_DOM, E_DQUOT,
    E_EXIST, E_FAULT, E_FBIG, E_HOSTUNREACH, E_IDRM, E_ILSEQ, E_INPROGRESS, E_INTR, E_INVAL, E_IO, E_ISCONN, E_ISDIR,
    E_LOOP, E_MFILE, E_MLINK, E_MSGSIZE, E_MULTIHOP, E_NAMETOOLONG, E_NETDOWN, E_NETRESET, E_NETUNREACH, E_NFILE,
    E_NOBUFS, E_NODEV, E_NOENT, E_NOEXEC, E_NOLCK, E_NOLINK, E_NOMEM, E_NOMSG, E_NOPROTOOPT, E_NOSPC, E_NOSYS,
    E_NOTCONN, E_NOTDIR, E_NOTEMPTY, E_NOTRECOVERABLE, E_NOTSOCK, E_NOTSUP, E_NOTTY, E_NXIO, E_OVERFLOW, E_OWNERDEAD,
    E_PERM, E_PIPE, E_PROTO, E_PROTONOSUPPORT, E_PROTOTYPE, E_RANGE, E_ROFS, E_SPIPE, E_SRCH, E_STALE, E_TIMEDOUT,
    E_TXTBSY, E_XDEV, E_NOTCAPABLE, E_AI_ADDRFAMILY, E_AI_AGAIN, E_AI_BADFLAG, E_AI_FAIL, E_AI_FAMILY, E_AI_MEMORY,
    E_AI_NODATA, E_AI_NONAME, E_AI_SERVICE, E_AI_SOCKTYPE, E_AI_SYSTEM,
};
_Static_assert(E_NOTCAPABLE == 76 && E_AI_SYSTEM == 87, "errnos by their place");

enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1 };                      // witx `clockid`
enum { FDFLAG_APPEND = 1, FDFLAG_DSYNC = 2, FDFLAG_NONBLOCK = 4, FDFLAG_RSYNC = 8, FDFLAG_SYNC = 16 }; // `fdflags`
enum { FILETYPE_CHARACTER_DEVICE = 2, FILETYPE_DIRECTORY = 3, FILETYPE_LINK = 7 };                   // `filetype`
enum { FAMILY_INET4 = 1, FAMILY_INET6 = 2 };                           // WasmEdge's address families, wasi/api.hpp
enum { SOCKTYPE_DATAGRAM = 1, SOCKTYPE_STREAM = 2 };
enum { SHUTDOWN_RECEIVE = 1, SHUTDOWN_SEND = 2 };                      // witx `sdflags`

// witx `fdstat`: filetype, flags, the rights of the descriptor and of what is opened through it.
struct fdstat {
    u8 filetype;
    u16 flags;
    u64 rights;
    u64 inheriting;
};

// witx `filestat`; the three times are in nanoseconds.
struct filestat {
    u64 device;
    u64 inode;
    u8 filetype;
    u64 links;
    u64 size;
    u64 times[3];
};
_Static_assert(sizeof(struct fdstat) == 24 && sizeof(struct filestat) == 64, "sizes of the witx");
