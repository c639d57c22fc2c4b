// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * The iterators alone, for one look: they load in a fraction of the time that all programs take.
 */
#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"
#include "records.h"
#include "describe.bpf.h"

/* Several of the helpers are for programs under the GPL alone; this one may be taken under it. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#include "iterators.bpf.h"
