/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal declarations: logical processors, partitions, VPs, and what each file offers. */
#ifndef HV_H
#define HV_H

#include "abi.h"
#include "child.h"
#include "cpu.h"
#include "host.h"
#include "svm.h"
#include "synic.h"
#include "timer.h"
#include "types.h"
#include "wire.h"

#define MAX_LPS 8
#define MAX_PARTS HOST_PARTITIONS
#define MAX_VPS 16
#define MAX_INTERCEPTS 64
#define MAX_PROPERTIES 32
#define MAX_STORED 64
#define ROOT_ID 1ul
#define MARK_PORT 0xe8			/* root user space marks a place in the ledger: outb, or rdmsr MARK_MSR + n */
#define MARK_MSR 0x4f000000u
#define MARK_MSR_LAST (MARK_MSR + 0xff)

/* ---- statistics: what we count of a VP, times in TSC ticks first ---- */
enum vp_stat {
	VS_RUN_TIME, VS_HYPERVISOR_TIME, VS_HYPERCALLS, VS_IO, VS_HLT, VS_CPUID, VS_MSR, VS_OTHER, VS_INTERRUPTS,
	VS_PAGE_FAULTS, VS_IO_MESSAGES, VS_MEMORY_MESSAGES, VS_OTHER_MESSAGES, VS_MIGRATIONS, VS_DISPATCHES, VS_COUNT
};
struct stats_page { u64 *page; bool theirs; };	/* theirs: at an address that the parent named */
struct lp_time { u64 start, entered, root, child, idle; bool idles; };	/* TSC: two points, then durations */
struct lp_times { u64 root, run, hypervisor; };	/* units of 100 ns */

/* ---- partitions and virtual processors ---- */
enum pt_state { PT_FREE, PT_CREATED, PT_ACTIVE, PT_FINALIZED };

struct pool { u64 head; u32 nfree, ntotal; };	/* deposited pages, linked through themselves */

struct vp {
	bool used;
	u32 index;
	struct partition *pt;
	struct vmcb *vmcb;
	struct gprs g;
	u8 *fpu;			/* XSAVE image page */
	u64 xcr0, dr[4], tsc_aux, apic_base;
	struct wire_register_page *regs_page;
	struct message *msg_page;
	u64 state_at[2];		/* GPAs where an L1VH parent wants to see these two, 0 for none */
	struct stats_page *stats[STATS_AREAS];	/* when mapped */
	u64 count[VS_COUNT];
	u32 last_lp;			/* LP number + 1 of the last run */
	u64 explicit_suspend, intercept_suspend, dispatch_suspend;
	u64 root_signal_count;
	u64 pending_interruption, deliverability;
	bool halted, blocked, wait_sipi, init_pending;
	u64 shadow_rip;			/* left in an interrupt shadow here, see lost_shadow() */
	u32 sipi;			/* SIPI_VALID | vector while init_pending */
	struct lapic apic;
	bool nmi_pending, nmi_masked, nmi_iret;
	u64 nmi_iret_rip;		/* of the IRET that ends the NMI handler, while nmi_iret */
	struct timer wake;		/* the next deadline of what the VP has armed */
	u64 pending_event[2];
	struct cpuid_page *results;
	struct child_synic synic;
	bool idle;			/* halted by GUEST_IDLE: any interrupt ends it, masked or not */
	u32 extint, offered;		/* OFFER_* | vector */
	u64 stored[MAX_STORED][2];	/* MSRs and registers that are only kept */
	u32 nstored;
	volatile int in_guest;		/* LP number + 1 while the child runs, without hv_lock */
	bool dispatching;		/* from the start of a run to the end of what follows from it */
	u32 stops;			/* LPs that want it out of its guest, see vp_stop() */
	u64 born;			/* number of this creation: tells a VP from its successor in the same place */
	u64 dispatches, exits;
};

struct intercept { u32 type, access; u64 parameter; };

struct partition {
	enum pt_state state;
	u64 id, flags;
	struct pool pool;
	u64 npt;			/* root of the second-level table */
	struct stats_page *stats[STATS_AREAS];
	u64 leaves_4k, leaves_2m, changes;	/* of the second-level table: pages mapped, entries ever changed */
	u32 asid;
	struct vp vp[MAX_VPS];
	struct intercept intercept[MAX_INTERCEPTS];
	u32 nintercepts;
	struct child_hv hv;
	struct guest_overlay overlay[OVERLAYS(MAX_VPS)];
	u32 noverlays;
	u32 last_lowest;		/* VP that last got an interrupt of lowest priority */
	u64 property[MAX_PROPERTIES][2];
	u32 nproperties;
};

/* ---- per logical processor ---- */
struct stimer {
	struct timer timer;
	u32 index;
	u64 config, count;		/* the MSRs */
	u64 next;			/* reference time of the next expiration, while it runs */
};

#define EXIT_RING 32
struct exit_note { u64 code, rip, rsp, info1, intinfo; u32 who; };

struct lp {
	u32 index, apic_id;
	bool started;			/* root VP is running or about to */
	struct vmcb *vmcb;		/* the root's VP on this LP */
	u64 shadow_rip;			/* left in an interrupt shadow here, see lost_shadow() */
	struct vmcb *idle_vmcb;		/* waits for interrupts, see sched.c */
	u64 slice;			/* TSC when the root's VP last got this LP */
	u32 turn;			/* child VP that last had it */
	struct timer slice_end;		/* ... and until when */
	struct lp_time time;
	u64 shown;			/* TSC when its statistics were last shown */
	u64 switches, halts;
	struct stats_page *stats, *vp_stats[STATS_AREAS];	/* of the LP, and of the root's VP on it */
	struct gprs g;
	void *hsave;
	u8 *fpu;
	u64 root_xcr0, root_dr[4], root_tsc_aux;	/* the root's, while a child runs */
	u8 sipi_vector;
	u64 sint[16], scontrol, simp, siefp, sirbp, vp_assist;
	struct synic synic;
	struct stimer stimer[STIMERS];
	struct timer *timers;		/* soonest first */
	struct timer_hardware hardware;
	u64 exits, hypercalls;
	struct exit_note note[EXIT_RING];	/* last exits, for post-mortems */
	u32 notes;
	u32 in_root, nmi_asked;		/* see npt_root.c: the root runs here; an NMI of ours is on its way */
	u64 generation;			/* of the root's nested table, as of the last entry */
};

extern struct lp lps[MAX_LPS];
extern u32 nlps;
extern struct partition parts[MAX_PARTS];	/* parts[0] is the root partition */
extern lock_t hv_lock;
extern u32 verbose;

/* boot.S and hv.ld */
void vmrun_guest(struct vmcb *, struct gprs *);
extern u8 ap_tramp[], ap_tramp_end[], hv_start[], hv_end[], shared_start[], shared_end[], heap_start[], heap_end[];
extern u8 ledger_start[], ledger_end[], hv_pml4[];
extern u64 ap_stack;
extern volatile u32 ap_index;
#define AP_TRAMPOLINE 0x8000ul		/* TRAMPOLINE in boot.S; kept out of the root's RAM by linux.c */
#define AP_TAKEN (~0u)			/* what an AP writes to ap_index when it no longer needs the start data */

/* log.c, string.c */
void kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void panic(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void tripwire(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *memcpy(void *, const void *, u64);
void *memset(void *, int, u64);
int strncmp(const char *, const char *, u64);
u64 strlen(const char *);
u64 strtou(const char *s, const char **end);
const char *option(const char *args, const char *name);	/* value of a boot argument, or NULL */

/* mem.c */
void *page_alloc(void);			/* zeroed hypervisor-private page */
void *pages_alloc(u64 n);		/* contiguous, zeroed */
void *pages_try_alloc(u64 n);		/* NULL when the heap runs low */
void *shared_alloc(void);		/* zeroed page the root can see, in e820 "reserved" */
void *root_ptr(u64 gpa, u64 len);	/* checked access to root memory within one page, NULL if not allowed */
bool spa_is_hidden(u64 pfn, u64 pages);
bool spa_is_ours(u64 pfn, u64 pages);
const void *root_virtual(const struct vmcb *, u64 gva);

/* pages.c */
enum page_state { PAGE_ROOT, PAGE_FREE, PAGE_USED };	/* the last two: deposited, free in its pool or in use */
#define PAGE_MAPS_BITS 22
#define PAGE_ORPHAN 31			/* owner: a partition that is gone */
struct page {
	u32 state : 2;
	u32 visible : 1;		/* in use, and the root sees it */
	u32 lost : 2;			/* of a root page: NPT_R, NPT_W that the root has released */
	u32 owner : 5;			/* index in parts: whose pool, or to whom a root page is exclusive (0: nobody) */
	u32 maps : PAGE_MAPS_BITS;	/* frames of children that lead here, and other uses that forbid a deposit */
};
struct host_access { u32 access, slot; bool acquire, shared; };	/* slot: become exclusive to it, unless 0 */
void mem_note_ram(u64 base, u64 len);
void pages_width(u32 address_bits);
void pages_init(void);
struct page *page_of(u64 pfn);
bool spa_is_root_ram(u64 pfn);
bool spa_exists(u64 pfn, u64 pages);
bool page_is_roots(u64 pfn);
u16 pages_share(const struct partition *, u64 pfn, u64 pages);
void pages_unshare(u64 pfn, u64 pages);
u16 page_take(u64 pfn, const struct partition *);
void page_return(u64 pfn);
void page_state(u64 pfn, enum page_state);
void page_show(u64 pfn);
bool page_visible(u64 pfn);
bool page_hide(u64 pfn);
u16 page_host_access(u64 pfn, const struct host_access *);
void pages_orphan(const struct partition *);

/* npt.c, npt_root.c */
#define NPT_R BIT(0)
#define NPT_W BIT(1)
#define NPT_X BIT(2)
#define NPT_NO_ACCESS BIT(3)		/* the root mapped it with no access */
#define NPT_UNCACHED BIT(4)
u64 root_npt(u32 width);
bool root_npt_set(u64 pfn, u32 access);
u32 root_npt_access(u64 pfn);
void root_enter(struct lp *);
void root_leave(struct lp *);
void root_nmi(struct lp *);
void root_shootdown(void);
u16 npt_map(struct partition *, u64 gfn, u64 pfn, u32 access, bool large);
u16 npt_unmap(struct partition *, u64 gfn, bool large);
#define SW_OVERLAY BIT(10)	/* in a leaf: a page of ours over what the VMM mapped, for the host to tell */
bool npt_overlay(struct partition *, u64 gfn, u64 leaf, u64 *was);
bool npt_lookup(struct partition *, u64 gfn, u64 *pfn, u32 *access);
u16 npt_access_state(struct partition *, u64 gfn, u32 set, u32 clear, u8 *was);
void npt_free(struct partition *);

/* partition.c */
void *pool_get(struct pool *);
void pool_put(struct pool *, void *);
void *pool_get_visible(struct pool *);
void pool_put_visible(struct pool *, void *);
struct partition *pt_find(u64 id);
u16 pt_create(u64 flags, u64 *id);
u16 pt_initialize(struct partition *);
u16 pt_finalize(struct partition *);
u16 pt_delete(struct partition *);
void pt_shootdown(struct partition *);

/* host_block.c, ledger.c, fault.c; hold.c: see hc.h */
void host_init(const char *args);
void host_state(enum host_state);
void host_publish(const struct partition *);
void host_text(char c);
bool ledger_on(enum record_kind);
void ledger_write(struct lp *, struct host_record *);
void ledger_caller(const struct lp *, struct host_record *);
void ledger_event(struct lp *, enum event_code, u32 flags, u32 n, const u64 *words);
#define LEDGER_EVENT(lp, code, flags, ...) ledger_event(lp, code, flags, \
	LENGTH(((u64[]){ __VA_ARGS__ })), (u64[]){ __VA_ARGS__ })
bool call_matches(const struct host_call *, u16 code, u64 partition, u64 gfn, u64 pages);
struct host_fault *fault_find(u16 code, u64 partition, u64 gfn, u64 pages);
void fault_boot_args(const char *args);
extern struct host_block host_block;

/* svm.c, world.c, tripwire.c, root.c */
void svm_enable(struct lp *);
void vmcb_check_init(void);		/* svm_check.c */
bool vmcb_valid(const struct vmcb *);
bool efer_write(struct vmcb *, u64 val);
void vmcb_init(struct vmcb *, u64 ncr3, u32 asid);
bool note_shadow(const struct vmcb *, u64 *rip);
bool lost_shadow(const struct vmcb *, u64 *rip);
void inject_exception(struct vmcb *, u32 vector, bool has_error, u32 error);
void world_to_child(struct lp *, struct vp *);
void world_to_root(struct lp *, struct vp *);
void note_exit(struct lp *, const struct vmcb *, u32 who);
void lp_run(struct lp *) __attribute__((noreturn));
extern u64 xcr0_max;

/* stats.c */
void stats_store(const struct stats_page *, u32 counter, u64 value);
void stats_enter(struct lp *);
u64 stats_leave(struct lp *, u64 *spent);
void stats_count_exit(struct vp *);
void stats_count_message(struct vp *);
void stats_count_run(struct lp *, struct vp *, u64 ticks, u64 in_guest);
struct lp_times stats_times(const struct lp *);
void stats_show_vp(const struct vp *);
void stats_show_partition(const struct partition *);
void stats_show(struct lp *);
void stats_root_exit(struct lp *);
bool stats_attach(u32 type, const u64 id[2], u32 area, struct stats_page *);

/* overlay.c */
extern bool l1vh;			/* the parent is an L1VH partition, not the root */
void overlay_init(u64 *msr, bool provided);
bool overlay_write(u64 *msr, u64 val);
void overlay_state_in(struct vp *);
void overlay_state_out(struct vp *);

/* sched.c */
extern u32 scheduler;			/* SCHEDULER_* */
bool sched_is_ours(void);
void sched_init(struct lp *);
void sched_wake(const struct lp *);
void sched_root_halts(struct lp *);
void sched_root_exit(struct lp *);
void sched_root_yields(struct lp *);
bool vp_stop(const struct lp *, struct vp *);
bool sched_stop_partition(const struct lp *, struct partition *);

/* cpuid.c, msr.c, time.c, probe.c */
void root_cpuid(struct lp *);
void root_msr(struct lp *, bool write);
void msr_init(void);
extern bool stimers_announced, vectors_announced;
void time_init(void);
u64 ref_time(void);
u64 ref_to_tsc(u64 ref);
u64 ref_units(u64 ticks);
u64 ref_scale(void);
s64 ref_offset(u64 ahead);
void *tsc_page(void);
bool probe_expected(enum event_code, u64 number);
extern u64 tsc_hz;

/* apic.c, synic.c, stimer.c */
u32 apic_id(void);
u32 apic_read(u32 offset);
void apic_write(u32 offset, u32 value);
u64 apic_icr(void);
void apic_write_icr(u32 dest, u32 low);
void apic_eoi(void);
void start_ap(struct lp *, u8 vector);
void root_icr(struct lp *, u32 dest, u32 low);
void synic_init(struct lp *);
void synic_enter(struct lp *);
void synic_left(struct lp *);
u16 synic_post(struct lp *, u32 sint, const struct message *);
bool synic_queued(struct lp *, u32 sint, const struct message *);
u16 synic_signal(struct lp *, u32 sint, u32 flag);
bool synic_ring(struct lp *, u32 sint, u32 port);
bool synic_read(const struct lp *, u32 msr, u64 *val);
bool synic_write(struct lp *, u32 msr, u64 val);
void stimer_init(struct lp *);
bool stimer_write(struct lp *, u32 msr, u64 val);
u64 stimer_read(struct lp *, u32 msr);
u64 stimer_next(u64 expired, u64 period, u64 now, bool lazy);

/* child_operand.c */
#define REX_W 8
#define REX_R 4
#define OP_MOFFS_FIRST 0xa0		/* MOV between AL or eAX and an address that follows */
#define OP_MOFFS_LAST 0xa3
struct instruction {
	const u8 *bytes;
	u32 n, taken;
	bool short_of;			/* more bytes were needed than there are */
	bool code64, code16, o16, two_bytes, repeats_or_locks;
	u8 op, rex, segment, address_size;
	u64 offset;			/* of the memory operand, in its segment; see instruction_operand() */
	bool relative, on_stack;	/* to the next instruction; by RSP or RBP */
};
struct instruction instruction_begin(const struct vp *, const u8 *bytes, u32 n);
int instruction_operand(struct instruction *, const struct vp *);
u64 instruction_value(struct instruction *, u32 bytes);
u64 instruction_register(const struct vp *, u32 reg);
bool instruction_address(const struct vp *, const u8 *bytes, u32 n, u64 *gva);

/* store.c, port.c */
struct store { u32 size, length; u64 value; };
bool store_decode(const struct vp *, const u8 *bytes, u32 n, struct store *);
bool doorbell(struct lp *, struct vp *);
bool doorbell_write(struct lp *, struct vp *, u64 gpa, u32 size, u64 value);
void port_forget(u64 partition);

/* hypercall.c */
bool hypercall(struct lp *);		/* true: the call is held, and the root is to make it again */
void power_off(struct lp *, u8 slp_typ) __attribute__((noreturn));

/* vp.c, vp_registers.c, vp_state.c, vp_dispatch.c, child_exit.c, child_message.c */
struct vp *vp_find(struct partition *, u32 index);
u16 vp_create(struct partition *, u32 index);
u16 vp_delete(struct partition *, u32 index);
void vp_kick(struct lp *, struct vp *);
void vp_init_reset(struct vp *);
void vp_init_pending(struct vp *);
void vp_sipi(struct vp *, u32 vector);
void vp_signal_root(struct lp *, struct vp *);
void vp_publish_blocked(struct vp *, bool blocked);
bool vp_has_lapic(const struct vp *);
u16 vp_get_register(struct vp *, u32 name, u64 v[2]);
u16 vp_set_register(struct lp *, struct vp *, u32 name, const u64 v[2]);
u64 *vp_stored(struct vp *, u64 key, bool add);
bool vp_register_modelled(u32 name);
void vp_cpl_from_ss(struct vp *);
u16 vp_state(struct vp *, u32 type, const u64 *pfns, u32 npfns, bool set);
void fpu_sanitise(struct vp *);
void registers_page_out(struct vp *);
void registers_page_in(struct vp *);
void registers_page_sync(struct vp *);
void registers_page_refresh(struct vp *);
struct wire_segment segment_to_wire(const struct seg *);
struct seg segment_from_wire(const struct wire_segment *);
u16 vp_dispatch(struct lp *, struct vp *, u32 flags, struct out_dispatch *out);
enum run_end { RUN_INTERRUPTED, RUN_MESSAGE, RUN_BLOCKED };
enum run_end vp_run(struct lp *, struct vp *);
bool vp_ready(struct vp *);
enum child_action { CHILD_RESUME, CHILD_MESSAGE, CHILD_FAULTED };
enum child_action child_vmmcall(struct lp *, struct vp *);
enum child_action child_exit(struct lp *, struct vp *);
bool child_message(struct lp *, struct vp *);
void vp_inject_pending(struct vp *);
void vp_pending_event(struct vp *);
u16 vp_set_event(struct vp *, const u64 value[2]);
u64 vp_get_interruption(const struct vp *);
void vp_set_interruption(struct vp *, u64 value);
bool gva_to_gpa(struct vp *, u64 gva, u64 *gpa);
u32 child_fetch(struct vp *, u8 *bytes);
#define INSTRUCTION_BYTES 16

/* linux.c, selftest.c */
void linux_load(struct lp *, u64 multiboot_info);
void selftests(void);

#endif
