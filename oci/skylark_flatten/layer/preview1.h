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

// witx `errno`, those that the layer looks at itself. The last ones are WasmEdge's (wasi/api.hpp, __WASI_ERRNO_AI...).
enum {
    E_SUCCESS = 0,
    E_ACCES = 2,
    E_ADDRINUSE = 3,
    E_ADDRNOTAVAIL = 4,
    E_AFNOSUPPORT = 5,
    E_AGAIN = 6,
    E_ALREADY = 7,
    E_CONNABORTED = 13,
    E_CONNREFUSED = 14,
    E_CONNRESET = 15,
    E_DESTADDRREQ = 17,
    E_EXIST = 20,
    E_HOSTUNREACH = 23,
    E_INPROGRESS = 26,
    E_INTR = 27,
    E_INVAL = 28,
    E_ISCONN = 30,
    E_ISDIR = 31,
    E_MFILE = 33,
    E_MSGSIZE = 35,
    E_NETDOWN = 38,
    E_NETRESET = 39,
    E_NETUNREACH = 40,
    E_NFILE = 41,
    E_NOBUFS = 42,
    E_NOMEM = 48,
    E_NOPROTOOPT = 50,
    E_NOSYS = 52,
    E_NOTCONN = 53,
    E_NOTDIR = 54,
    E_NOTSUP = 58,
    E_OVERFLOW = 61,
    E_PERM = 63,
    E_PIPE = 64,
    E_PROTONOSUPPORT = 66,
    E_SPIPE = 70,
    E_TIMEDOUT = 73,
    E_NOTCAPABLE = 76,
    E_AI_ADDRFAMILY = 77,
    E_AI_AGAIN = 78,
    E_AI_FAIL = 80,
    E_AI_MEMORY = 82,
    E_AI_NODATA = 83,
    E_AI_NONAME = 84,
};

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
