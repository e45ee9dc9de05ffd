/* SPDX-License-Identifier: MIT */
/*
 * The inside of a simulated host.
 *
 * Locks, outermost first:
 *   server_lock  the table of ioreq servers (Xen: d->ioreq_server.lock)
 *   evtchn_lock  the tables of ports, and who holds them
 *   vcpu.lock    held by a vCPU while it runs in Xen; domain_pause() takes each one in turn
 *   ranges_lock, bufioreq_lock, chan.lock, mem_lock, irq_lock, console_lock   leaves
 * A vCPU reads the server table under its own lock alone, because the table changes only while
 * the domain is paused.
 */
#ifndef XENSIM_INTERNAL_H
#define XENSIM_INTERNAL_H

#include "xensim.h"

#include "../wire.h"

#include <pthread.h>

#define PRIVATE __attribute__((visibility("hidden")))
#include "mmcfg.h"

/* ---- rangeset.c ---- */

struct rangeset {
    unsigned count;
    struct { uint64_t start, end; } range[MAX_NR_IO_RANGES]; /* ascending, disjoint, not adjacent */
};

PRIVATE bool rangeset_contains(const struct rangeset *r, uint64_t start, uint64_t end);
PRIVATE bool rangeset_overlaps(const struct rangeset *r, uint64_t start, uint64_t end);
PRIVATE int rangeset_add(struct rangeset *r, uint64_t start, uint64_t end);
PRIVATE int rangeset_remove(struct rangeset *r, uint64_t start, uint64_t end);

/* ---- ioreq servers ---- */

/* struct ioreq_vcpu of Xen: one vCPU as one server knows it. */
struct ioreq_vcpu {
    evtchn_port_t evtchn;
    bool pending;
    uint8_t prev_state; /* what wait_for_io() saw last */
};

#define INVALID_GFN UINT64_MAX

struct ioreq_server {
    bool enabled, mmcfg_native;
    uint8_t bufioreq_handling;
    bool allocated; /* ioreq_server_alloc_pages() or a legacy mapping happened */
    int fd;         /* memfd: frame 0 the ring, frame 1 the slots */
    uint8_t *frames;
    uint64_t ioreq_gfn, bufioreq_gfn; /* legacy mapping, else INVALID_GFN */
    evtchn_port_t bufioreq_evtchn;
    pthread_mutex_t bufioreq_lock;
    pthread_rwlock_t ranges_lock;
    struct rangeset range[NR_IO_RANGE_TYPES];
    struct ioreq_vcpu vcpu[]; /* x->vcpus of them */
};

/* ---- event channels ---- */

enum chan_state { ECS_FREE, ECS_RESERVED, ECS_UNBOUND, ECS_INTERDOMAIN };

/* A port of the guest domain (Xen's end). */
struct chan {
    pthread_mutex_t lock;
    enum chan_state state;
    unsigned vcpu;       /* notify_vcpu_id */
    evtchn_port_t local; /* dom0's port while INTERDOMAIN */
    int fd;              /* where that port's numbers are queued */
};

#define NR_CHANS 2048

/* An open /dev/xen/evtchn: lives until the last copy of the client's descriptor is closed. */
struct evtchn_user {
    struct evtchn_user *next;
    int fd;               /* our end of the stream pair */
    uint64_t client_inode;
    unsigned partial;     /* bytes of an unfinished port number written by the client */
    uint8_t partial_bytes[4];
    int restrict_domid;   /* -1: not restricted */
};

/* A port of dom0. */
struct local_port {
    struct evtchn_user *user; /* NULL: free */
    evtchn_port_t remote;     /* 0: not interdomain */
};

/* ---- vCPUs ---- */

struct vcpu {
    _Alignas(64) pthread_mutex_t lock;
    struct xen_ioreq req;   /* v->io.req */
    bool event_pending;     /* XEN_DMOP_inject_event waiting for the guest */
    struct xensim_event event;
};

/* ---- guest memory ---- */

/* p2m types that matter here; the first five are HVMMEM_* numbers. */
enum { P2M_RAM_RW, P2M_RAM_RO, P2M_MMIO_DM, P2M_UNUSED, P2M_IOREQ_SERVER, P2M_HOLE };

/* ---- the host ---- */

enum run_state { RUN_ALIVE, RUN_SHUTDOWN, RUN_CRASHED, RUN_DESTROYED, RUN_STOPPED };

struct counters {
    _Atomic uint64_t pio, copy, pci_config, timeoffset, invalidate, buffered, buffered_fallback,
        unhandled, aborted, retried, notify_to_server, notify_dropped, intx_ops, msi_ops, dm_ops,
        dm_op_errors, ranges_mapped, ranges_unmapped, mmcfg_native, mmcfg_translated;
    _Atomic uint32_t clients;
};

#define NR_GSIS 1020 /* 48 on x86; SPIs go up to 1019 */
#define NR_SPECIAL_GFNS 8
#define SPECIAL_GFN_BASE 0xfeff0u /* where hvmloader keeps Xen's special pages */
#define MSI_QUEUE 4096
#define NR_PINNED 64
#define NR_PIDS 256

struct connection;

struct xensim {
    enum xensim_arch arch;
    unsigned vcpus;
    unsigned spin_us;
    struct vcpu *vcpu;
    struct counters count;

    /* Domain life. run_state and pause_count change under life_lock; vCPUs look at them with
     * their own lock held and wait on life_cond. */
    pthread_mutex_t life_lock;
    pthread_cond_t life_cond;
    _Atomic int run_state;
    _Atomic unsigned pause_count;
    bool paused_by_toolstack;
    int shutdown_code;
    char crash_reason[160];

    /* Memory. Guest frames point at pages of one file, so that a frame that was ballooned out
     * and in again is a new page while old mappings keep the old one. */
    pthread_rwlock_t mem_lock;
    uint64_t memory;
    int ram_fd;
    uint8_t *ram;           /* [0, memory) as the guest sees it */
    uint64_t nr_gfns;
    uint64_t *p2m;          /* page number */
    uint8_t *p2m_type;
    uint8_t *dirty;         /* NULL: log-dirty mode is off */
    uint64_t nr_pages;      /* of the file */
    struct ioreq_server *mem_type_server;
    uint64_t mem_type_entries;
    unsigned nr_pinned;
    struct { uint64_t start, end; uint32_t type; } pinned[NR_PINNED];

    /* Ioreq servers */
    pthread_mutex_t server_lock;
    pthread_cond_t server_cond;
    struct ioreq_server *server[MAX_NR_IOREQ_SERVERS];
    uint8_t special_gfns; /* free ones, a bit each */
    _Atomic uint32_t cf8;
    bool cf8_ext;         /* AMD64_NB_CFG_CF8_EXT_ENABLE */
    struct mmcfg_windows mmcfg;

    /* Event channels */
    pthread_mutex_t evtchn_lock;
    int shared_fd;
    struct wire_shared *shared;
    struct chan *chan;
    struct local_port local[WIRE_NR_PORTS];
    struct evtchn_user *users;

    /* Interrupts */
    pthread_mutex_t irq_lock;
    pthread_cond_t irq_cond;
    uint64_t irq_changes;
    uint32_t gsi_count[NR_GSIS]; /* assertions; level is count > 0 */
    uint64_t gsi_edges[NR_GSIS];
    uint32_t intx[4];            /* per pin, a bit per device */
    uint32_t isa;
    unsigned link_count[4];
    uint8_t link_route[4];
    struct xensim_msi *msi;
    unsigned msi_first, msi_used;

    /* Log */
    pthread_mutex_t console_lock;
    char *console;
    size_t console_used;

    /* Control socket */
    char socket_path[108];
    int listen_fd, epoll_fd, stop_fd;
    pthread_t io_thread;
    bool io_running;
    struct connection *connections;
    unsigned instance;   /* tells the files of several hosts in one process apart */
    unsigned nr_pids;    /* processes that ever connected, for xensim_mapped_pages() */
    pthread_mutex_t pid_lock;
    int32_t pid[NR_PIDS];
};

/* host.c */
PRIVATE bool vcpu_enter(struct xensim *x, struct vcpu *v);
PRIVATE void vcpu_leave(struct vcpu *v);
PRIVATE enum xensim_result vcpu_gone(struct xensim *x);
PRIVATE void domain_pause(struct xensim *x);
PRIVATE void domain_unpause(struct xensim *x);
PRIVATE void domain_crash(struct xensim *x, const char *reason);
PRIVATE void domain_shutdown(struct xensim *x, unsigned code);
PRIVATE bool domain_exists(struct xensim *x);

/* console.c */
PRIVATE void console_log(struct xensim *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* memory.c */
PRIVATE int memory_start(struct xensim *x, uint64_t bytes);
PRIVATE void memory_free(struct xensim *x);
PRIVATE unsigned memory_type(struct xensim *x, uint64_t gpa);
PRIVATE bool memory_copy(struct xensim *x, uint64_t gpa, void *buffer, size_t length, bool write);
PRIVATE uint64_t memory_lookup(struct xensim *x, uint64_t gfn);
PRIVATE int memory_set_type(struct xensim *x, unsigned type, uint64_t first, uint32_t nr);
PRIVATE int memory_modified(struct xensim *x, const struct xen_dm_op_modified_memory_extent *e);
PRIVATE int memory_relocate(struct xensim *x, uint64_t from, uint64_t to, uint32_t nr);
PRIVATE int memory_pin_cacheattr(struct xensim *x, uint64_t start, uint64_t end, uint32_t type);
PRIVATE int memory_map_mem_type(struct xensim *x, struct ioreq_server *s, uint32_t flags);

/* server.c, select.c */
PRIVATE int server_create(struct xensim *x, unsigned bufioreq, ioservid_t *id);
PRIVATE int server_destroy(struct xensim *x, ioservid_t id);
PRIVATE void server_destroy_all(struct xensim *x);
PRIVATE int server_set_state(struct xensim *x, ioservid_t id, bool enabled);
PRIVATE int server_get_info(struct xensim *x, struct dmop_get_ioreq_server_info *info);
PRIVATE int server_map_range(struct xensim *x, const struct dmop_ioreq_server_range *r, bool map);
PRIVATE int server_map_mem_type(struct xensim *x, const struct dmop_map_mem_type_to_ioreq_server *m);
PRIVATE int server_frames(struct xensim *x, uint32_t id, uint64_t frame, uint64_t nr, int *fd);
PRIVATE int server_special_frame(struct xensim *x, uint64_t gfn, int *fd, uint64_t *page);
PRIVATE struct ioreq_server *server_get(struct xensim *x, uint32_t id); /* server_lock held */
PRIVATE struct ioreq_server *server_select(struct xensim *x, struct xen_ioreq *p);
PRIVATE struct xen_ioreq *server_slot(struct ioreq_server *s, unsigned vcpu);

/* ioreq.c, bufioreq.c: IO_* are the seed's names for the X86EMUL_* that Xen uses on x86. */
enum io_state { IO_ABORT, IO_HANDLED, IO_RETRY, IO_UNHANDLED };
PRIVATE enum io_state ioreq_send(struct xensim *x, struct ioreq_server *s, unsigned vcpu,
                                 const struct xen_ioreq *p);
PRIVATE enum io_state ioreq_send_buffered(struct xensim *x, struct ioreq_server *s,
                                          const struct xen_ioreq *p);
PRIVATE enum xensim_result ioreq_handle_completion(struct xensim *x, unsigned vcpu,
                                                   struct xen_ioreq *answer);
PRIVATE unsigned ioreq_broadcast(struct xensim *x, unsigned vcpu, const struct xen_ioreq *p,
                                 bool buffered);
PRIVATE void ioreq_count(struct xensim *x, const struct xen_ioreq *p);
PRIVATE bool ioreq_needs_completion(const struct xen_ioreq *p);

/* evtchn.c */
PRIVATE int evtchn_start(struct xensim *x);
PRIVATE void evtchn_free(struct xensim *x);
PRIVATE int evtchn_alloc_unbound(struct xensim *x, unsigned vcpu, evtchn_port_t *port);
PRIVATE void evtchn_close_xen_end(struct xensim *x, evtchn_port_t port);
PRIVATE void evtchn_notify_server(struct xensim *x, evtchn_port_t port);
PRIVATE void evtchn_wake_all(struct xensim *x);
PRIVATE struct evtchn_user *evtchn_user_open(struct xensim *x, int fd, uint64_t client_inode);
PRIVATE struct evtchn_user *evtchn_user_find(struct xensim *x, uint64_t client_inode);
PRIVATE void evtchn_user_release(struct xensim *x, struct evtchn_user *user);
PRIVATE bool evtchn_user_closed(const struct evtchn_user *user);
PRIVATE void evtchn_user_written(struct xensim *x, struct evtchn_user *user, const uint8_t *bytes,
                                 size_t length);
PRIVATE void evtchn_user_ports(struct xensim *x, const struct evtchn_user *user,
                               uint8_t bitmap[WIRE_NR_PORTS / 8]);
PRIVATE int evtchn_bind_interdomain(struct xensim *x, struct evtchn_user *user, uint32_t domid,
                                    uint64_t remote, evtchn_port_t *local);
PRIVATE int evtchn_bind_local(struct xensim *x, struct evtchn_user *user, evtchn_port_t *local);
PRIVATE int evtchn_unbind(struct xensim *x, struct evtchn_user *user, uint64_t local);

/* dmop.c. Buffer 0 is the struct dmop, written back on success. */
PRIVATE int dm_op(struct xensim *x, uint32_t domid, void *buf0, size_t size0, void *buf1,
                  size_t size1);

/* irq.c */
PRIVATE int irq_start(struct xensim *x);
PRIVATE void irq_free(struct xensim *x);
PRIVATE void irq_changed(struct xensim *x);
PRIVATE int irq_set_intx(struct xensim *x, const struct dmop_set_pci_intx_level *p);
PRIVATE int irq_set_isa(struct xensim *x, const struct dmop_set_isa_irq_level *p);
PRIVATE int irq_set_link_route(struct xensim *x, const struct dmop_set_pci_link_route *p);
PRIVATE int irq_set_spi(struct xensim *x, const struct dmop_set_irq_level *p);
PRIVATE int irq_inject_msi(struct xensim *x, uint64_t addr, uint32_t data);

/* control.c */
PRIVATE int control_start(struct xensim *x, const char *path);
PRIVATE void control_stop(struct xensim *x);
PRIVATE int named_memfd(struct xensim *x, const char *what, uint64_t bytes);

#endif
