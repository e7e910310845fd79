/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compile-time proof that mshv_abi.h says what a kernel's headers say. Compiled with -fsyntax-only by
 * lab/child/abi.py, which puts the kernel's headers and empty stand-ins for what they include in reach.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 phys_addr_t;
#define __packed		__attribute__((packed))
#define __aligned(n)		__attribute__((aligned(n)))
#define BIT(n)			(1ul << (n))
#define BIT_ULL(n)		(1ull << (n))
#define GENMASK(h, l)		(((~0ul) << (l)) & (~0ul >> (63 - (h))))
#define GENMASK_ULL(h, l)	GENMASK(h, l)
#define CONFIG_X86		1
#define CONFIG_X86_64		1
#define IS_ENABLED(option)	(option + 0)
#define static_assert		_Static_assert
#define DECLARE_FLEX_ARRAY(type, name)	struct { struct { } empty_##name; type name[]; }
#define __TRAILING_OVERLAP(type, name, flexible, attributes, members)	\
	union { type name; struct { unsigned char pad_##name[offsetof(type, flexible)]; members } attributes; }
#define BUILD_BUG_ON(condition)	((void)sizeof(char[1 - 2 * !!(condition)]))

#include <hyperv/hvhdk.h>
#include <mshv_uapi.h>

#include "mshv_abi.h"

#define SAME(what, a, b)	_Static_assert((a) == (b), what)
#define SIZE(ours, theirs)	SAME(#ours " size", sizeof(struct ours), sizeof(struct theirs))
#define FIELD(ours, our_field, theirs, their_field)							\
	SAME(#ours "." #our_field, offsetof(struct ours, our_field), offsetof(struct theirs, their_field)); \
	SAME(#ours "." #our_field " size", sizeof(((struct ours *)0)->our_field),			\
	     sizeof(((struct theirs *)0)->their_field))

SIZE(abi_create_partition, mshv_create_partition);
FIELD(abi_create_partition, flags, mshv_create_partition, pt_flags);
FIELD(abi_create_partition, isolation, mshv_create_partition, pt_isolation);
SIZE(abi_create_vp, mshv_create_vp);
SIZE(abi_memory, mshv_user_mem_region);
FIELD(abi_memory, size, mshv_user_mem_region, size);
FIELD(abi_memory, gfn, mshv_user_mem_region, guest_pfn);
FIELD(abi_memory, host, mshv_user_mem_region, userspace_addr);
FIELD(abi_memory, flags, mshv_user_mem_region, flags);
SIZE(abi_hypercall, mshv_root_hvcall);
FIELD(abi_hypercall, code, mshv_root_hvcall, code);
FIELD(abi_hypercall, reps, mshv_root_hvcall, reps);
FIELD(abi_hypercall, in_size, mshv_root_hvcall, in_sz);
FIELD(abi_hypercall, out_size, mshv_root_hvcall, out_sz);
FIELD(abi_hypercall, status, mshv_root_hvcall, status);
FIELD(abi_hypercall, in, mshv_root_hvcall, in_ptr);
FIELD(abi_hypercall, out, mshv_root_hvcall, out_ptr);
SIZE(abi_run, mshv_run_vp);
SIZE(abi_irqfd, mshv_user_irqfd);
FIELD(abi_irqfd, fd, mshv_user_irqfd, fd);
FIELD(abi_irqfd, resample_fd, mshv_user_irqfd, resamplefd);
FIELD(abi_irqfd, gsi, mshv_user_irqfd, gsi);
FIELD(abi_irqfd, flags, mshv_user_irqfd, flags);
SIZE(abi_ioeventfd, mshv_user_ioeventfd);
FIELD(abi_ioeventfd, value, mshv_user_ioeventfd, datamatch);
FIELD(abi_ioeventfd, gpa, mshv_user_ioeventfd, addr);
FIELD(abi_ioeventfd, bytes, mshv_user_ioeventfd, len);
FIELD(abi_ioeventfd, fd, mshv_user_ioeventfd, fd);
FIELD(abi_ioeventfd, flags, mshv_user_ioeventfd, flags);
SIZE(abi_route, mshv_user_irq_entry);
FIELD(abi_route, gsi, mshv_user_irq_entry, gsi);
FIELD(abi_route, address_low, mshv_user_irq_entry, address_lo);
FIELD(abi_route, address_high, mshv_user_irq_entry, address_hi);
FIELD(abi_route, data, mshv_user_irq_entry, data);
SIZE(abi_routes, mshv_user_irq_table);
FIELD(abi_routes, count, mshv_user_irq_table, nr);

SAME("writable flag", ABI_MEMORY_WRITABLE, 1u << MSHV_SET_MEM_BIT_WRITABLE);
SAME("executable flag", ABI_MEMORY_EXECUTABLE, 1u << MSHV_SET_MEM_BIT_EXECUTABLE);
SAME("unmap flag", ABI_MEMORY_UNMAP, 1u << MSHV_SET_MEM_BIT_UNMAP);
SAME("page size", ABI_PAGE, MSHV_HV_PAGE_SIZE);
SAME("create partition", ABI_CREATE_PARTITION, MSHV_CREATE_PARTITION);
SAME("initialize", ABI_INITIALIZE, MSHV_INITIALIZE_PARTITION);
SAME("create VP", ABI_CREATE_VP, MSHV_CREATE_VP);
SAME("set memory", ABI_SET_MEMORY, MSHV_SET_GUEST_MEMORY);
SAME("LAPIC flag", ABI_PARTITION_LAPIC, 1u << MSHV_PT_BIT_LAPIC);
SAME("x2APIC flag", ABI_PARTITION_X2APIC, 1u << MSHV_PT_BIT_X2APIC);
SAME("irqfd deassign", ABI_IRQFD_DEASSIGN, 1u << MSHV_IRQFD_BIT_DEASSIGN);
SAME("irqfd resample", ABI_IRQFD_RESAMPLE, 1u << MSHV_IRQFD_BIT_RESAMPLE);
SAME("ioeventfd value", ABI_IOEVENTFD_VALUE, 1u << MSHV_IOEVENTFD_BIT_DATAMATCH);
SAME("ioeventfd deassign", ABI_IOEVENTFD_DEASSIGN, 1u << MSHV_IOEVENTFD_BIT_DEASSIGN);
SAME("irqfd", ABI_IRQFD, MSHV_IRQFD);
SAME("ioeventfd", ABI_IOEVENTFD, MSHV_IOEVENTFD);
SAME("routes", ABI_ROUTES, MSHV_SET_MSI_ROUTING);
SAME("hypercall", ABI_HYPERCALL, MSHV_ROOT_HVCALL);
SAME("run", ABI_RUN, MSHV_RUN_VP);

SAME("get registers", ABI_CALL_GET_REGISTERS, HVCALL_GET_VP_REGISTERS);
SAME("set registers", ABI_CALL_SET_REGISTERS, HVCALL_SET_VP_REGISTERS);
SAME("register call", sizeof(struct abi_register_call), sizeof(struct hv_input_set_vp_registers));
FIELD(abi_register_call, vp, hv_input_set_vp_registers, vp_index);
SIZE(abi_register, hv_register_assoc);
FIELD(abi_register, name, hv_register_assoc, name);
FIELD(abi_register, value, hv_register_assoc, value);
SIZE(abi_segment, hv_x64_segment_register);
FIELD(abi_segment, base, hv_x64_segment_register, base);
FIELD(abi_segment, limit, hv_x64_segment_register, limit);
FIELD(abi_segment, selector, hv_x64_segment_register, selector);
FIELD(abi_segment, attributes, hv_x64_segment_register, attributes);
SIZE(abi_table, hv_x64_table_register);
FIELD(abi_table, limit, hv_x64_table_register, limit);
FIELD(abi_table, base, hv_x64_table_register, base);

SAME("unmapped GPA", ABI_MSG_UNMAPPED_GPA, HVMSG_UNMAPPED_GPA);
SAME("GPA intercept", ABI_MSG_GPA_INTERCEPT, HVMSG_GPA_INTERCEPT);
SAME("unrecoverable exception", ABI_MSG_UNRECOVERABLE, HVMSG_UNRECOVERABLE_EXCEPTION);
SAME("I/O port", ABI_MSG_IO_PORT, HVMSG_X64_IO_PORT_INTERCEPT);
SAME("halt", ABI_MSG_HALT, HVMSG_X64_HALT);
SAME("read", ABI_ACCESS_READ, HV_INTERCEPT_ACCESS_READ);
SAME("write", ABI_ACCESS_WRITE, HV_INTERCEPT_ACCESS_WRITE);
SAME("execute", ABI_ACCESS_EXECUTE, HV_INTERCEPT_ACCESS_EXECUTE);
SIZE(abi_message, hv_message);
SAME("message payload", offsetof(struct abi_message, payload), offsetof(struct hv_message, u));
FIELD(abi_message, type, hv_message, header.message_type);
FIELD(abi_message, size, hv_message, header.payload_size);
SIZE(abi_intercept, hv_x64_intercept_message_header);
FIELD(abi_intercept, access, hv_x64_intercept_message_header, intercept_access_type);
FIELD(abi_intercept, state, hv_x64_intercept_message_header, execution_state);
FIELD(abi_intercept, cs, hv_x64_intercept_message_header, cs_segment);
FIELD(abi_intercept, rip, hv_x64_intercept_message_header, rip);
FIELD(abi_intercept, rflags, hv_x64_intercept_message_header, rflags);
SIZE(abi_memory_intercept, hv_x64_memory_intercept_message);
FIELD(abi_memory_intercept, cache_type, hv_x64_memory_intercept_message, cache_type);
FIELD(abi_memory_intercept, instruction_size, hv_x64_memory_intercept_message, instruction_byte_count);
FIELD(abi_memory_intercept, info, hv_x64_memory_intercept_message, memory_access_info);
FIELD(abi_memory_intercept, gva, hv_x64_memory_intercept_message, guest_virtual_address);
FIELD(abi_memory_intercept, gpa, hv_x64_memory_intercept_message, guest_physical_address);
FIELD(abi_memory_intercept, instruction, hv_x64_memory_intercept_message, instruction_bytes);
/* abi_port_intercept has no counterpart in the kernel; its layout is HV_X64_IO_PORT_INTERCEPT_MESSAGE of the TLFS. */
_Static_assert(offsetof(struct abi_port_intercept, port) == sizeof(struct abi_intercept), "port");
