// The errors of preview 1 as WASI 0.2 names them.
#pragma once
#include "abi.h"

// `wasi:sockets/network.error-code`, in its order.
enum network_error {
    UNKNOWN,
    ACCESS_DENIED,
    NOT_SUPPORTED,
    INVALID_ARGUMENT,
    OUT_OF_MEMORY,
    TIMEOUT,
    CONCURRENCY_CONFLICT,
    NOT_IN_PROGRESS,
    WOULD_BLOCK,
    INVALID_STATE,
    NEW_SOCKET_LIMIT,
    ADDRESS_NOT_BINDABLE,
    ADDRESS_IN_USE,
    REMOTE_UNREACHABLE,
    CONNECTION_REFUSED,
    CONNECTION_RESET,
    CONNECTION_ABORTED,
    DATAGRAM_TOO_LARGE,
    NAME_UNRESOLVABLE,
    TEMPORARY_RESOLVER_FAILURE,
    PERMANENT_RESOLVER_FAILURE,
};
u32 network_error(u32 error);

// A case of `wasi:filesystem/types.error-code`.
u32 filesystem_error(u32 error);

// `result<_, error-code>` of both interfaces.
void answer_filesystem(u8 *result, u32 error);
void answer_network(u8 *result, u32 error);

// The other side, or the component, has ended the stream; not an errno of the witx.
#define END_OF_STREAM 0x10000u

// A `stream-error` at `at`: closed, or last-operation-failed with a resource of its own.
void answer_stream_error(u8 *result, u32 at, u32 error);
