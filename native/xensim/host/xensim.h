/* SPDX-License-Identifier: MIT */
/*
 * xensim: the simulated Xen, as a C library.
 *
 * One struct xensim is one host: a control socket for the client libraries
 * (libxendevicemodel.so.1 and friends, see ../lib), and one HVM guest, domain 1.
 * The embedder supplies the vCPUs: any thread may play vCPU n by calling the
 * xensim_vcpu_* functions, which block as a real vCPU does when it has trapped
 * into Xen. One thread per vCPU at a time.
 *
 * Source of the behaviour: Xen common/ioreq.c, arch/x86/hvm/{ioreq,emulate,io}.c,
 * arch/x86/hvm/dm.c, common/event_channel.c; arch/arm/ioreq.c for the Arm domain.
 */
#ifndef XENSIM_H
#define XENSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XENSIM_DOMID 1

enum xensim_arch { XENSIM_X86, XENSIM_ARM };

struct xensim_config {
    const char *socket_path;  /* unix SEQPACKET socket that the client libraries connect to */
    unsigned vcpus;           /* 1..128 (HVM_MAX_VCPUS) */
    uint64_t memory;          /* guest RAM in bytes, a multiple of 4096 */
    enum xensim_arch arch;
    unsigned spin_us;         /* how long a vCPU spins on its event before it sleeps; 0: not at all */
};

/* A good spin_us: longer than a device model that polls takes to answer. */
#define XENSIM_SPIN_US 50

struct xensim;

/* Start a host. Returns 0, or -1 with errno set and nothing left behind. */
int xensim_start(const struct xensim_config *config, struct xensim **out);
/* End it: every blocked vCPU returns XENSIM_STOPPED, clients see the socket close. */
void xensim_stop(struct xensim *x);
void xensim_free(struct xensim *x);

/* Guest RAM: guest-physical [0, memory) is mapped at this address, identity, while populated. */
uint8_t *xensim_ram(struct xensim *x);
/* Returns 0, or -1 with errno EINVAL (a hole already / populated already) or ESRCH (domain gone).
 * A page that comes back is a new, zeroed one; a mapping made before shows the old one.
 * Balloon a page out (a hole from then on) or back in. Ballooning out sends IOREQ_TYPE_INVALIDATE
 * from the calling vCPU to every enabled server and waits for all of them. */
int xensim_vcpu_decrease_reservation(struct xensim *x, unsigned vcpu, uint64_t gfn);
int xensim_populate(struct xensim *x, uint64_t gfn);
/* Log-dirty mode, as live migration has it: what modified_memory() reported (guest writes to RAM
 * through xensim_ram() are not seen). take: writes up to max gfns, clears them, returns how many. */
void xensim_log_dirty(struct xensim *x, bool on);
unsigned xensim_take_dirty(struct xensim *x, uint64_t *gfns, unsigned max);
/* Pages of guest RAM and of ioreq servers that other processes have mapped now. After
 * xensim_destroy_domain() the domain stays a zombie until this is 0. */
uint64_t xensim_mapped_pages(struct xensim *x);

/* How an access ended. Names as in Xen: enum io_state of the Arm thread, X86EMUL_* on x86. */
enum xensim_result {
    XENSIM_HANDLED = 0,    /* a server answered */
    XENSIM_UNHANDLED = 1,  /* nobody claims it: all-ones read, write discarded (x86; in an
                              MMCONFIG window everywhere) */
    XENSIM_ABORT = 2,      /* nobody claims it: data abort (Arm) */
    XENSIM_CRASHED = 3,    /* the domain was crashed; xensim_crash_reason() has Xen's words */
    XENSIM_STOPPED = 4,    /* xensim_stop() was called, or the domain was destroyed */
};

enum xensim_space { XENSIM_PIO, XENSIM_MMIO };

/* One in/out/mov. width 1, 2, 4 (8 too for MMIO). A PIO access to 0xcfc-0xcff while CF8
 * enables it becomes a PCI_CONFIG request, as in Xen; so does an MMIO access to an MMCONFIG window,
 * unless its server wants it as it is. *data: value in or out. MMIO accesses that touch populated
 * RAM read and write the RAM. */
enum xensim_result xensim_vcpu_access(struct xensim *x, unsigned vcpu, enum xensim_space space,
                                      bool write, uint64_t addr, unsigned width, uint64_t *data);

/* rep ins/outs (PIO) and rep movs between RAM and MMIO, as hvmemul_do_io_addr() cuts them into
 * requests: data_is_ptr, count limited at the page of addr and of ram, df = backwards.
 * count elements are all done before it returns; *done says how many were.
 * to_ram: device -> RAM (a read request). */
enum xensim_result xensim_vcpu_rep(struct xensim *x, unsigned vcpu, enum xensim_space space,
                                   bool to_ram, uint64_t addr, uint64_t ram, unsigned width,
                                   uint32_t count, bool df, uint32_t *done);
/* rep stos to MMIO: count > 1, !data_is_ptr. */
enum xensim_result xensim_vcpu_rep_stos(struct xensim *x, unsigned vcpu, uint64_t addr,
                                        uint64_t data, unsigned width, uint32_t count, bool df);

/* An MMIO access of any length up to 64 bytes (vector moves, misaligned accesses), cut at pages and
 * into powers of two of at most 8 bytes, in ascending order, as hvmemul_phys_mmio_access() does. */
enum xensim_result xensim_vcpu_mmio(struct xensim *x, unsigned vcpu, bool write, uint64_t addr,
                                    void *buffer, unsigned length);

/* A raw request, every field under the caller's control (a hostile or future Xen): 32 bytes of
 * ioreq_t; state and vp_eport are filled in. Goes to the newest enabled server without selection.
 * On return ioreq holds what the server left, its state too. */
enum xensim_result xensim_vcpu_raw(struct xensim *x, unsigned vcpu, void *ioreq32);
/* A peer that does not keep to the protocol: stores width (1, 2, 4, 8) bytes at `at` of the newest enabled
 * server's shared pages, of which the first is the ring and the second has the slots. No event follows.
 * False when there is no such server, or no such place. */
bool xensim_write_shared(struct xensim *x, unsigned at, unsigned width, uint64_t value);
/* The same through the buffered ring of the newest enabled server that has one, without a wait.
 * XENSIM_UNHANDLED when ioreq_send_buffered() refuses it. */
enum xensim_result xensim_raw_buffered(struct xensim *x, const void *ioreq32);

/* Writes to 0xa0000-0xbffff with the buffer flag: buffered if a claiming server has a ring,
 * else (and whenever the ring is full or the request does not fit) a synchronous request. */
enum xensim_result xensim_vcpu_vga_write(struct xensim *x, unsigned vcpu, uint64_t addr,
                                         unsigned width, uint64_t data);
/* send_timeoffset_req(): to every enabled server with a ring. */
void xensim_send_timeoffset(struct xensim *x, int64_t seconds);
/* send_invalidate_req() from this vCPU: to every enabled server; returns when all answered. */
enum xensim_result xensim_vcpu_invalidate(struct xensim *x, unsigned vcpu);

/* Interrupts. GSI levels as set_pci_intx_level wires them ((dev<<2)+(dev>>3)+intx)&31)+16, OR of
 * all asserted (device, pin); set_isa_irq_level GSIs 0-15 (ISA IRQ 0 is GSI 2) together with the
 * PCI links routed there; Arm: set_irq_level SPIs. */
bool xensim_gsi_level(struct xensim *x, unsigned gsi);
/* Number of rising edges ever seen on a GSI. */
uint64_t xensim_gsi_edges(struct xensim *x, unsigned gsi);
struct xensim_msi { uint64_t addr; uint32_t data; };
/* Take the oldest undelivered MSI. Returns false when there is none. The queue holds 4096. */
bool xensim_take_msi(struct xensim *x, struct xensim_msi *out);
/* Take the event that XEN_DMOP_inject_event left for a vCPU. Returns false when there is none. */
struct xensim_event { uint8_t vector, type, insn_len; uint32_t error_code; uint64_t cr2; };
bool xensim_take_event(struct xensim *x, unsigned vcpu, struct xensim_event *out);
/* Block until something about interrupts changed after `seen` (a counter; returned in *now),
 * timeout_ms passed (-1: for ever), or the host stopped. Returns true when it changed. */
bool xensim_wait_interrupt(struct xensim *x, uint64_t seen, int timeout_ms, uint64_t *now);

/* Domain life. It starts paused: vCPU calls block until it is unpaused. */
void xensim_unpause(struct xensim *x);
void xensim_pause(struct xensim *x);
/* Block until a server is enabled (true) or timeout_ms passed / the host stopped (false). */
bool xensim_wait_server_enabled(struct xensim *x, int timeout_ms);
/* Destroy the domain: dm ops give ESRCH, vCPU calls return XENSIM_STOPPED. */
void xensim_destroy_domain(struct xensim *x);
/* Reason of XEN_DMOP_remote_shutdown or a crash (SHUTDOWN_poweroff 0, reboot 1, suspend 2, crash 3),
 * -1 while the domain runs. After it vCPU calls return XENSIM_STOPPED (XENSIM_CRASHED: crash). */
int xensim_shutdown_code(struct xensim *x);
/* MSR_AMD64_NB_CFG's CF8 extension: bits 27:24 of CF8 become register bits 11:8. Off at first. */
void xensim_set_cf8_ext(struct xensim *x, bool on);
/* Xen's words when the domain was crashed, else NULL. */
const char *xensim_crash_reason(struct xensim *x);

/* What happened, for summaries and for tests that count. */
struct xensim_counters {
    uint64_t pio, copy, pci_config, timeoffset, invalidate;  /* requests sent, by type */
    uint64_t buffered, buffered_fallback;                    /* ring entries; sync because ring refused */
    uint64_t unhandled, aborted;                             /* accesses nobody claimed */
    uint64_t retried;                                        /* IO_RETRY: sent, waited for, completed */
    uint64_t notify_from_server, notify_to_server, notify_dropped;
    uint64_t intx_ops, msi_ops, dm_ops, dm_op_errors;
    uint64_t ranges_mapped, ranges_unmapped;                 /* successful (un)map dm ops */
    uint32_t servers, ranges;                                /* alive now */
    uint32_t clients;                                        /* open library handles now */
    uint64_t mmcfg_native, mmcfg_translated;                 /* accesses in a window, by the form they took */
};
void xensim_get_counters(struct xensim *x, struct xensim_counters *out);
/* Ranges registered by a server now: writes up to max, returns how many there are. */
struct xensim_range { uint32_t type; uint64_t start, end; };
unsigned xensim_ranges(struct xensim *x, unsigned server_id, struct xensim_range *out, unsigned max);
/* MMCONFIG windows now (see mmcfg.c): writes up to max, returns how many there are. */
struct xensim_mmcfg { uint64_t base; uint16_t segment; uint8_t start_bus, end_bus; uint16_t server; };
unsigned xensim_mmcfg_windows(struct xensim *x, struct xensim_mmcfg *out, unsigned max);
/* Xen's log ("(XEN) ..." lines), oldest first; returns bytes written, always NUL-terminated. */
size_t xensim_console(struct xensim *x, char *buf, size_t len);

/* A C guest program: a shared object that exports this; called once per vCPU thread. */
typedef int xensim_guest_main_fn(struct xensim *x, unsigned vcpu, unsigned vcpus);
#define XENSIM_GUEST_MAIN "xensim_guest_main"

#endif
