// Each errno as the case of the WIT's enum that says the same. wasi-libc turns the cases back into errnos
// (libc-bottom-half: `translate_error`, and `__wasilibc_map_socket_error` in sources/sockets_utils.c).
#include "errors.h"
#include "handles.h"
#include "memory.h"
#include "preview1.h"

enum {
    FS_ACCESS, FS_WOULD_BLOCK, FS_ALREADY, FS_BAD_DESCRIPTOR, FS_BUSY, FS_DEADLOCK, FS_QUOTA, FS_EXIST,
    FS_FILE_TOO_LARGE, FS_ILLEGAL_BYTE_SEQUENCE, FS_IN_PROGRESS, FS_INTERRUPTED, FS_INVALID, FS_IO, FS_IS_DIRECTORY,
    FS_LOOP, FS_TOO_MANY_LINKS, FS_MESSAGE_SIZE, FS_NAME_TOO_LONG, FS_NO_DEVICE, FS_NO_ENTRY, FS_NO_LOCK,
    FS_INSUFFICIENT_MEMORY, FS_INSUFFICIENT_SPACE, FS_NOT_DIRECTORY, FS_NOT_EMPTY, FS_NOT_RECOVERABLE, FS_UNSUPPORTED,
    FS_NO_TTY, FS_NO_SUCH_DEVICE, FS_OVERFLOW, FS_NOT_PERMITTED, FS_PIPE, FS_READ_ONLY, FS_INVALID_SEEK,
    FS_TEXT_FILE_BUSY, FS_CROSS_DEVICE,
};

// What the WIT has no case for, errors of sockets for example, is an I/O error; no room for one more descriptor, of the
// process or of the system, is a want of memory.
u32 filesystem_error(u32 error)
{
    switch (error) {
    case E_ACCES:
        return FS_ACCESS;
    case E_AGAIN:
        return FS_WOULD_BLOCK;
    case E_ALREADY:
        return FS_ALREADY;
    case E_BADF:
        return FS_BAD_DESCRIPTOR;
    case E_BUSY:
        return FS_BUSY;
    case E_DEADLK:
        return FS_DEADLOCK;
    case E_DQUOT:
        return FS_QUOTA;
    case E_EXIST:
        return FS_EXIST;
    case E_FBIG:
        return FS_FILE_TOO_LARGE;
    case E_ILSEQ:
        return FS_ILLEGAL_BYTE_SEQUENCE;
    case E_INPROGRESS:
        return FS_IN_PROGRESS;
    case E_INTR:
        return FS_INTERRUPTED;
    case E_2BIG: case E_DOM: case E_FAULT: case E_INVAL:
        return FS_INVALID;
    case E_ISDIR:
        return FS_IS_DIRECTORY;
    case E_LOOP:
        return FS_LOOP;
    case E_MLINK:
        return FS_TOO_MANY_LINKS;
    case E_MSGSIZE:
        return FS_MESSAGE_SIZE;
    case E_NAMETOOLONG:
        return FS_NAME_TOO_LONG;
    case E_NODEV:
        return FS_NO_DEVICE;
    case E_NOENT:
        return FS_NO_ENTRY;
    case E_NOLCK:
        return FS_NO_LOCK;
    case E_MFILE: case E_NFILE: case E_NOBUFS: case E_NOMEM:
        return FS_INSUFFICIENT_MEMORY;
    case E_NOSPC:
        return FS_INSUFFICIENT_SPACE;
    case E_NOTDIR:
        return FS_NOT_DIRECTORY;
    case E_NOTEMPTY:
        return FS_NOT_EMPTY;
    case E_NOTRECOVERABLE:
        return FS_NOT_RECOVERABLE;
    case E_NOSYS: case E_NOTSUP:
        return FS_UNSUPPORTED;
    case E_NOTTY:
        return FS_NO_TTY;
    case E_NXIO:
        return FS_NO_SUCH_DEVICE;
    case E_OVERFLOW: case E_RANGE:
        return FS_OVERFLOW;
    case E_NOTCAPABLE: case E_PERM:
        return FS_NOT_PERMITTED;
    case E_PIPE:
        return FS_PIPE;
    case E_ROFS:
        return FS_READ_ONLY;
    case E_SPIPE:
        return FS_INVALID_SEEK;
    case E_TXTBSY:
        return FS_TEXT_FILE_BUSY;
    case E_XDEV:
        return FS_CROSS_DEVICE;
    default:
        return FS_IO;
    }
}

u32 network_error(u32 error)
{
    switch (error) {
    case E_ACCES: case E_PERM: case E_NOTCAPABLE:
        return ACCESS_DENIED;
    case E_AFNOSUPPORT: case E_NOSYS: case E_NOTSUP: case E_PROTONOSUPPORT: case E_NOPROTOOPT:
        return NOT_SUPPORTED;
    case E_INVAL: case E_DESTADDRREQ:
        return INVALID_ARGUMENT;
    case E_NOMEM: case E_NOBUFS: case E_AI_MEMORY:
        return OUT_OF_MEMORY;
    case E_TIMEDOUT:
        return TIMEOUT;
    case E_ALREADY:
        return CONCURRENCY_CONFLICT;
    case E_AGAIN: case E_INPROGRESS: case E_INTR:
        return WOULD_BLOCK;
    case E_ISCONN: case E_NOTCONN:
        return INVALID_STATE;
    case E_MFILE: case E_NFILE:
        return NEW_SOCKET_LIMIT;
    case E_ADDRNOTAVAIL:
        return ADDRESS_NOT_BINDABLE;
    case E_ADDRINUSE:
        return ADDRESS_IN_USE;
    case E_HOSTUNREACH: case E_NETUNREACH: case E_NETDOWN: case E_NETRESET:
        return REMOTE_UNREACHABLE;
    case E_CONNREFUSED:
        return CONNECTION_REFUSED;
    case E_CONNRESET: case E_PIPE:
        return CONNECTION_RESET;
    case E_CONNABORTED:
        return CONNECTION_ABORTED;
    case E_MSGSIZE:
        return DATAGRAM_TOO_LARGE;
    case E_AI_NONAME: case E_AI_NODATA: case E_AI_ADDRFAMILY:
        return NAME_UNRESOLVABLE;
    case E_AI_AGAIN:
        return TEMPORARY_RESOLVER_FAILURE;
    case E_AI_FAIL:
        return PERMANENT_RESOLVER_FAILURE;
    default:
        return UNKNOWN;
    }
}

void answer_filesystem(u8 *result, u32 error)
{
    if (error)
        answer_error(result, 1, filesystem_error(error));
    else
        answer_ok(result);
}

void answer_network(u8 *result, u32 error)
{
    if (error)
        answer_error(result, 1, network_error(error));
    else
        answer_ok(result);
}

void answer_stream_error(u8 *result, u32 at, u32 error)
{
    put8(result, 0, 1);
    if (error == END_OF_STREAM) {
        put8(result, at, 1);
        return;
    }
    struct handle *made;
    u32 number = handle_new(IO_ERROR, NULL, &made);
    made->code = error;
    put8(result, at, 0);
    put32(result, at + 4, number);
}

// `option<error-code>`: what was an error of a socket has no case there.
EXPORT("wasi:filesystem/types#filesystem-error-code") void filesystem_error_code(u32 error, u8 *result)
{
    put8(result, 0, 1);
    put8(result, 1, filesystem_error(get(error, IO_ERROR)->code));
}

EXPORT("wasi:io/error#[method]error.to-debug-string") void error_to_debug_string(u32 error, u8 *result)
{
    static const char text[] = "errno of WASI preview 1: ";
    char message[sizeof text + 10];
    u32 code = get(error, IO_ERROR)->code, digits = 1, size = sizeof text - 1;
    for (u32 rest = code; rest >= 10; rest /= 10)
        digits++;
    memcpy(message, text, size);
    for (u32 place = digits; place-- > 0; code /= 10)
        message[size + place] = (char)('0' + code % 10);
    put_list(result, 0, component_copy(message, size + digits), size + digits);
}

EXPORT("wasi:io/error#[resource-drop]error") void error_drop(u32 error) { handle_drop(error, IO_ERROR); }
