/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Structures that cross the hypercall boundary. Sizes and offsets are compared with Linux by abi_check.c. */
#ifndef WIRE_H
#define WIRE_H

#include "types.h"

struct wire_proximity { u32 domain, flags; } PACKED;
struct wire_vp_set { u64 format, valid_banks, banks[]; } PACKED;
struct wire_segment { u64 base; u32 limit; u16 selector, attributes; } PACKED;
struct wire_value { u64 low, high; } PACKED;

/* ---- hypercall inputs and outputs ---- */
struct in_partition { u64 partition; } PACKED;		/* initialize, finalize, delete */
struct out_partition { u64 partition; } PACKED;		/* get id, create */

struct in_create_partition {
	u64 flags;
	struct wire_proximity proximity;
	u32 compatibility, pad;
	u64 disabled_features[2], disabled_xsave_features, isolation;
} PACKED;

struct in_get_property { u64 partition; u32 code, pad; } PACKED;
struct out_get_property { u64 value; } PACKED;
struct in_set_property { u64 partition; u32 code, pad; u64 value; } PACKED;
struct in_get_property_ex { u64 partition; u32 code, pad; u64 argument; } PACKED;
struct out_vmm_capabilities { u16 banks, reserved[3]; u64 bits; } PACKED;

struct in_get_system_property { u32 id, reserved; u64 argument; } PACKED;
struct out_get_system_property { u64 value; } PACKED;
struct in_set_system_property { u32 id, reserved, sleep_state; u8 pm1a_slp_typ, pm1b_slp_typ; } PACKED;
struct in_enter_sleep_state { u32 state; } PACKED;
struct in_notify_event { u32 event, input; } PACKED;

struct in_lp_run_time { u32 lp; } PACKED;
struct out_lp_run_time { u64 global, local, reserved, hypervisor; } PACKED;
struct in_add_lp { u32 lp, apic_id; struct wire_proximity proximity; } PACKED;
struct out_add_lp { u64 status[7]; } PACKED;

struct in_deposit { u64 partition, pfn[]; } PACKED;
struct in_withdraw { u64 partition; struct wire_proximity proximity; } PACKED;
struct out_withdraw { u64 pfn[1]; } PACKED;

struct in_map_gpa { u64 partition, gfn; u32 flags, pad; u64 pfn[]; } PACKED;
struct in_unmap_gpa { u64 partition, gfn; u32 flags, pad; } PACKED;
struct in_access_states { u64 partition, flags, gfn; } PACKED;
struct in_host_access { u32 access, flags; u64 partition, pfn[]; } PACKED;	/* of system physical pages */
struct in_install_intercept { u64 partition; u32 access, type; u64 parameter; } PACKED;

struct in_create_vp {
	u64 partition;
	u32 vp;
	u8 pad[3], subnode_type;
	u64 subnode;
	struct wire_proximity proximity;
	u64 flags;
} PACKED;

struct in_delete_vp { u64 partition; u32 vp, reserved; } PACKED;
struct in_get_registers { u64 partition; u32 vp, vtl, name[]; } PACKED;
struct wire_register { u32 name, reserved1; u64 reserved2; struct wire_value value; } PACKED;
struct in_set_registers { u64 partition; u32 vp, vtl; struct wire_register element[]; } PACKED;
struct in_vp_state { u64 partition; u32 vp, vtl, type, reserved; u64 xsave_flags, xsave_states, pfn[]; } PACKED;

struct wire_stimer { u32 undelivered, reserved; u64 config, count, adjustment, undelivered_expiration; } PACKED;
struct out_vp_state { struct wire_stimer timer[4]; u64 reserved[5]; } PACKED;	/* the only state that is not in pages */
struct in_signal_direct { u64 partition; u32 vp; u8 vtl, sint; u16 flag; } PACKED;	/* TLFS */
struct out_signal_direct { u8 newly, reserved[7]; } PACKED;
struct in_map_state_page {
	u64 partition;
	u32 vp;
	u16 type;
	u8 vtl, flags;
	u64 location;
} PACKED;

struct in_unmap_state_page { u64 partition; u32 vp; u16 type; u8 vtl, reserved; } PACKED;
struct out_map_page { u64 pfn; } PACKED;		/* state pages and statistics pages */
struct in_dispatch { u64 partition; u32 vp, flags; u64 slice, spec_ctrl; } PACKED;
struct out_dispatch { u32 state, event; } PACKED;
struct in_translate { u64 partition; u32 vp, vtl; u64 flags, gva_page; } PACKED;	/* TLFS 16.9.13 */
struct out_translate { u32 result, overlay; u64 gpa_page; } PACKED;
struct in_stats_page { u32 type, pad; u64 id[2]; } PACKED;
struct in_map_stats2 { struct in_stats_page object; u64 location; } PACKED;

struct wire_interrupt_entry { u32 source, reserved, low, high; } PACKED;

struct in_map_interrupt {
	u64 partition, device;
	u32 flags, base_index;
	struct wire_interrupt_entry entry;
	u32 type, trigger, count, reserved;
	u32 vector, target_flags;
	struct wire_vp_set targets;
} PACKED;

struct out_map_interrupt { struct wire_interrupt_entry entry; u64 deprecated[5]; } PACKED;
struct in_unmap_interrupt { u64 partition, device; struct wire_interrupt_entry entry; u32 flags; } PACKED;
struct in_retarget_interrupt {
	u64 partition, device;
	struct wire_interrupt_entry entry;
	u64 reserved;
	u32 vector, target_flags;
	struct wire_vp_set targets;
} PACKED;
CHECK_SIZE(struct in_retarget_interrupt, 64);
struct in_send_ipi_ex { u32 vector, reserved; struct wire_vp_set targets; } PACKED;
struct in_send_ipi { u32 vector, reserved; u64 cpus; } PACKED;
struct in_apic_ids { u64 partition; u8 vtl, reserved[7]; u32 apic_id[]; } PACKED;
struct in_assert_interrupt { u64 partition; u32 type, control; u64 destination; u32 vector, vtl; } PACKED;
#define ASSERT_LEVEL 1u
#define ASSERT_LOGICAL 2u

struct wire_port_info {
	u32 type, pad, sint, vp;
	u64 rest;			/* event port: first flag : 16, number of flags : 16 */
} PACKED;
#define EVENT_FIRST_MASK 0xffffu
#define EVENT_COUNT_SHIFT 16

struct wire_connection_info { u32 type, pad; u64 gpa, value, flags; } PACKED;	/* gpa and so on: doorbells */

struct in_create_port {
	u64 partition;
	u32 port;
	u8 port_vtl, connection_vtl;
	u16 pad;
	u64 connection_partition;
	struct wire_port_info info;
	struct wire_proximity proximity;
} PACKED;

struct in_connect_port {
	u64 partition;
	u32 connection, vtl;
	u64 port_partition;
	u32 port, reserved;
	struct wire_connection_info info;
	struct wire_proximity proximity;
} PACKED;

struct in_port { u64 partition; u32 port, reserved; } PACKED;	/* delete, disconnect */
struct in_post_message { u32 connection, reserved, type, size; u64 payload[30]; } PACKED;
struct in_signal_event { u32 connection; u16 flag, reserved; } PACKED;
struct in_ring_empty { u32 sint, reserved; } PACKED;
struct wire_cpuid_word { u32 set, mask; } PACKED;

struct in_intercept_result {
	u64 partition;
	u32 vp, type;
	union {
		struct {
			u32 leaf, subleaf;
			u8 subleaf_specific, always_override;
			u16 pad;
			struct wire_cpuid_word value[4];	/* eax ebx ecx edx */
		} PACKED cpuid;
		struct { u32 index, access, action; } PACKED msr;
	};
} PACKED;

struct in_cpuid_values {
	u64 partition;
	u32 vp, flags;			/* TLFS: how the result depends on the VP's state; ignored */
	struct { u32 eax, ecx; } PACKED leaf[];
} PACKED;

/* ---- messages ---- */
#define MESSAGE_WORDS 30
struct message { u32 type; u8 size, flags, reserved[2]; u64 sender, payload[MESSAGE_WORDS]; } PACKED;
CHECK_SIZE(struct message, 256);

struct in_post_direct {			/* TLFS */
	u64 partition;
	u32 vp;
	u8 vtl, pad1[3], sint, pad2[3];
	struct message message;
	u32 pad3;
} PACKED;

struct wire_intercept {
	u32 vp;
	u8 length_cr8;			/* instruction length : 4, cr8 : 4 */
	u8 access;
	u16 execution_state;		/* see STATE_* */
	struct wire_segment cs;
	u64 rip, rflags;
} PACKED;
#define STATE_CR0_PE_SHIFT 2
#define STATE_CR0_AM_SHIFT 3
#define STATE_EFER_LMA_SHIFT 4
#define STATE_SHADOW_SHIFT 12

#define MEMORY_GVA_VALID 1		/* access_info */
#define MEMORY_GVA_GPA_VALID 2
struct wire_memory_message {
	struct wire_intercept header;
	u32 cache_type;
	u8 byte_count, access_info, tpr, reserved;
	u64 gva, gpa;
	u8 bytes[16];
} PACKED;

struct wire_io_message {
	struct wire_intercept header;
	u16 port;
	u8 access_info, byte_count;	/* access_info: size : 3, string : 1, rep : 1 */
	u32 reserved;
	u64 rax;
	u8 bytes[16];
	struct wire_segment ds, es;
	u64 rcx, rsi, rdi;
} PACKED;

struct wire_msr_message { struct wire_intercept header; u32 msr, reserved; u64 rdx, rax; } PACKED;

struct wire_cpuid_message {
	struct wire_intercept header;
	u64 rax, rcx, rdx, rbx, default_rax, default_rcx, default_rdx, default_rbx;
} PACKED;

struct wire_opaque_message { u32 vp; } PACKED;
struct wire_timer_message { u32 timer, reserved; u64 expiration, delivery; } PACKED;
/* TLFS; Linux does not name these two */
struct wire_exception_message {
	struct wire_intercept header;
	u16 vector;
	u8 info, byte_count;		/* info: error code valid : 1, software exception : 1 */
	u32 error_code;
	u64 parameter, reserved;
	u8 bytes[16];
	struct wire_segment ds, ss;
	u64 gpr[16];
} PACKED;

struct wire_hypercall_message {
	struct wire_intercept header;
	u64 rax, rbx, rcx, rdx, r8, rsi, rdi;
} PACKED;

struct wire_eoi_message { u32 vp, vector; } PACKED;
struct wire_signal_message { u64 partition; u32 overflow; u16 vps, reserved; u64 format, valid_banks, bank[1]; } PACKED;

/* ---- pages ---- */
struct wire_event_ring { u8 masked, full; u16 reserved; u32 data[63]; } PACKED;
CHECK_SIZE(struct wire_event_ring, 256);

struct wire_tsc_page { u32 sequence, reserved; u64 scale; s64 offset; } PACKED;

#define PAGE_VECTORS 7
struct wire_register_page {
	u16 version;
	u8 valid, reserved0;
	u32 dirty;
	u64 gpr[16], rip, rflags, reserved1;
	struct wire_value xmm[6];
	struct wire_segment segment[6];	/* es cs ss ds fs gs */
	u64 cr0, cr3, cr4, cr8, efer, dr7, pending_interruption, interrupt_state, hints, xfem;
	u8 reserved2[0x100];
	u64 vectors;			/* a count, then up to PAGE_VECTORS bytes; the root adds, we take, both at once */
} PACKED;

/* Local APIC state as GET/SET_VP_STATE carries it (TLFS; QEMU's mshv accelerator uses it) */
struct wire_lapic {
	u32 id, version, ldr, dfr, spurious, isr[8], tmr[8], irr[8], esr, icr_high, icr_low;
	u32 lvt_timer, lvt_thermal, lvt_perfmon, lvt_lint0, lvt_lint1, lvt_error, lvt_cmci;
	u32 error_status, initial_count, counter, divide, remote_read;
} PACKED;
CHECK_OFFSET(struct wire_lapic, lvt_timer, 32 * 4);
CHECK_OFFSET(struct wire_lapic, initial_count, 40 * 4);
CHECK_OFFSET(struct wire_lapic, divide, 42 * 4);

/* Sizes here, so that a slip shows in every build; abi_check.c compares them with the kernel */
CHECK_SIZE(struct in_create_partition, 56);
CHECK_SIZE(struct in_map_gpa, 24);
CHECK_SIZE(struct in_unmap_gpa, 24);
CHECK_SIZE(struct in_host_access, 16);
CHECK_SIZE(struct in_create_vp, 40);
CHECK_SIZE(struct wire_register, 32);
CHECK_SIZE(struct in_vp_state, 40);
CHECK_SIZE(struct in_dispatch, 32);
CHECK_SIZE(struct in_map_interrupt, 80);
CHECK_SIZE(struct out_map_interrupt, 56);
CHECK_SIZE(struct in_create_port, 56);
CHECK_SIZE(struct in_connect_port, 72);
CHECK_SIZE(struct wire_intercept, 40);
CHECK_SIZE(struct wire_memory_message, 80);
CHECK_OFFSET(struct wire_register_page, xmm, 160);

#endif
