/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compares abi.h and wire.h with a kernel's include/hyperv: compiled (optimised, for BITS) by lab/hypervisor/abi.py,
 * never linked. What Linux does not name (most register names, some properties) is taken from the TLFS and not listed here.
 */
#include "hvhdk.h"

#include "abi.h"
#include "abi_check.h"
#include "wire.h"

/* ---- the call itself ---- */
SAME(CTL_FAST, HV_HYPERCALL_FAST_BIT);
SAME(CTL_VARHEAD_SHIFT, HV_HYPERCALL_VARHEAD_OFFSET);
SAME(CTL_VARHEAD_MASK << CTL_VARHEAD_SHIFT, HV_HYPERCALL_VARHEAD_MASK);
SAME(CTL_REPS_SHIFT, HV_HYPERCALL_REP_COMP_OFFSET);
SAME(CTL_REPS_MASK << CTL_REPS_SHIFT, HV_HYPERCALL_REP_COMP_MASK);
SAME(CTL_REPS_MASK << RESULT_DONE_SHIFT, HV_HYPERCALL_REP_COMP_MASK);
SAME(CTL_START_SHIFT, HV_HYPERCALL_REP_START_OFFSET);
SAME(PARTITION_SELF, HV_PARTITION_ID_SELF);
SAME(PAGE, HV_HYP_PAGE_SIZE);

/* ---- status ---- */
SAME(ST_OK, HV_STATUS_SUCCESS);
SAME(ST_INVALID_CODE, HV_STATUS_INVALID_HYPERCALL_CODE);
SAME(ST_INVALID_INPUT, HV_STATUS_INVALID_HYPERCALL_INPUT);
SAME(ST_INVALID_ALIGNMENT, HV_STATUS_INVALID_ALIGNMENT);
SAME(ST_INVALID_PARAMETER, HV_STATUS_INVALID_PARAMETER);
SAME(ST_ACCESS_DENIED, HV_STATUS_ACCESS_DENIED);
SAME(ST_INVALID_PARTITION_STATE, HV_STATUS_INVALID_PARTITION_STATE);
SAME(ST_OPERATION_DENIED, HV_STATUS_OPERATION_DENIED);
SAME(ST_UNKNOWN_PROPERTY, HV_STATUS_UNKNOWN_PROPERTY);
SAME(ST_INSUFFICIENT_MEMORY, HV_STATUS_INSUFFICIENT_MEMORY);
SAME(ST_INVALID_PARTITION_ID, HV_STATUS_INVALID_PARTITION_ID);
SAME(ST_INVALID_VP_INDEX, HV_STATUS_INVALID_VP_INDEX);
SAME(ST_NOT_FOUND, HV_STATUS_NOT_FOUND);
SAME(ST_INVALID_PORT_ID, HV_STATUS_INVALID_PORT_ID);
SAME(ST_INVALID_CONNECTION_ID, HV_STATUS_INVALID_CONNECTION_ID);
SAME(ST_INSUFFICIENT_BUFFERS, HV_STATUS_INSUFFICIENT_BUFFERS);
SAME(ST_INVALID_VP_STATE, HV_STATUS_INVALID_VP_STATE);
SAME(ST_NO_RESOURCES, HV_STATUS_NO_RESOURCES);
SAME(ST_INVALID_LP_INDEX, HV_STATUS_INVALID_LP_INDEX);
SAME(ST_INVALID_REGISTER_VALUE, HV_STATUS_INVALID_REGISTER_VALUE);
SAME(ST_INSUFFICIENT_ROOT_MEMORY, HV_STATUS_INSUFFICIENT_ROOT_MEMORY);

/* ---- hypercall codes ---- */
SAME(HC_GET_LP_RUN_TIME, HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME);
SAME(HC_SEND_IPI, HVCALL_SEND_IPI);
SAME(HC_SEND_IPI_EX, HVCALL_SEND_IPI_EX);
SAME(HC_RETARGET_INTERRUPT, HVCALL_RETARGET_INTERRUPT);
SAME(VP_SET_ALL, HV_GENERIC_SET_ALL);
SAME(HC_FLUSH_VIRTUAL_ADDRESS_SPACE, HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE);
SAME(HC_FLUSH_VIRTUAL_ADDRESS_LIST, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST);
SAME(HC_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX);
SAME(HC_FLUSH_VIRTUAL_ADDRESS_LIST_EX, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX);
SAME(HC_NOTIFY_LONG_SPIN_WAIT, HVCALL_NOTIFY_LONG_SPIN_WAIT);
SAME(HC_SIGNAL_EVENT_DIRECT, HVCALL_SIGNAL_EVENT_DIRECT);
SAME(HC_POST_MESSAGE_DIRECT, HVCALL_POST_MESSAGE_DIRECT);
SAME(VP_SELF, HV_VP_INDEX_SELF);
SAME(REG_CRASH_P0, HV_REGISTER_GUEST_CRASH_P0);
SAME(REG_CRASH_CTL, HV_REGISTER_GUEST_CRASH_CTL);
SAME(REG_TIME_REF_COUNT, HV_REGISTER_TIME_REF_COUNT);
SAME(REG_SCONTROL, HV_REGISTER_SCONTROL);
SAME(REG_SIMP, HV_REGISTER_SIMP);
SAME(REG_SIEFP, HV_REGISTER_SIEFP);
SAME(REG_EOM, HV_REGISTER_EOM);
SAME(FEAT_GUEST_IDLE, HV_MSR_GUEST_IDLE_AVAILABLE);
SAME(MISC_GUEST_IDLE, HV_X64_GUEST_IDLE_STATE_AVAILABLE);
SAME(HINT_REMOTE_FLUSH, HV_X64_REMOTE_TLB_FLUSH_RECOMMENDED);
SAME(HINT_CLUSTER_IPI, HV_X64_CLUSTER_IPI_RECOMMENDED);
SAME(HINT_EX_MASKS, HV_X64_EX_PROCESSOR_MASKS_RECOMMENDED);
SIZE(out_vp_state, union hv_output_get_vp_state);
AT(out_vp_state, timer[1], struct hv_synthetic_timers_state, timers[1]);
SAME(HC_CREATE_PARTITION, HVCALL_CREATE_PARTITION);
SAME(HC_INITIALIZE_PARTITION, HVCALL_INITIALIZE_PARTITION);
SAME(HC_FINALIZE_PARTITION, HVCALL_FINALIZE_PARTITION);
SAME(HC_DELETE_PARTITION, HVCALL_DELETE_PARTITION);
SAME(HC_GET_PARTITION_PROPERTY, HVCALL_GET_PARTITION_PROPERTY);
SAME(HC_SET_PARTITION_PROPERTY, HVCALL_SET_PARTITION_PROPERTY);
SAME(HC_GET_PARTITION_ID, HVCALL_GET_PARTITION_ID);
SAME(HC_DEPOSIT_MEMORY, HVCALL_DEPOSIT_MEMORY);
SAME(HC_WITHDRAW_MEMORY, HVCALL_WITHDRAW_MEMORY);
SAME(HC_MAP_GPA_PAGES, HVCALL_MAP_GPA_PAGES);
SAME(HC_UNMAP_GPA_PAGES, HVCALL_UNMAP_GPA_PAGES);
SAME(HC_INSTALL_INTERCEPT, HVCALL_INSTALL_INTERCEPT);
SAME(HC_CREATE_VP, HVCALL_CREATE_VP);
SAME(HC_DELETE_VP, HVCALL_DELETE_VP);
SAME(HC_GET_VP_REGISTERS, HVCALL_GET_VP_REGISTERS);
SAME(HC_SET_VP_REGISTERS, HVCALL_SET_VP_REGISTERS);
SAME(HC_TRANSLATE_VIRTUAL_ADDRESS, HVCALL_TRANSLATE_VIRTUAL_ADDRESS);
SAME(HC_CLEAR_VIRTUAL_INTERRUPT, HVCALL_CLEAR_VIRTUAL_INTERRUPT);
SAME(HC_DELETE_PORT, HVCALL_DELETE_PORT);
SAME(HC_DISCONNECT_PORT, HVCALL_DISCONNECT_PORT);
SAME(HC_MAP_STATS_PAGE, HVCALL_MAP_STATS_PAGE);
SAME(HC_MAP_STATS_PAGE2, HVCALL_MAP_STATS_PAGE2);
SAME(HC_UNMAP_STATS_PAGE, HVCALL_UNMAP_STATS_PAGE);
SAME(HC_SET_SYSTEM_PROPERTY, HVCALL_SET_SYSTEM_PROPERTY);
SAME(HC_ADD_LOGICAL_PROCESSOR, HVCALL_ADD_LOGICAL_PROCESSOR);
SAME(HC_GET_SYSTEM_PROPERTY, HVCALL_GET_SYSTEM_PROPERTY);
SAME(HC_MAP_DEVICE_INTERRUPT, HVCALL_MAP_DEVICE_INTERRUPT);
SAME(HC_UNMAP_DEVICE_INTERRUPT, HVCALL_UNMAP_DEVICE_INTERRUPT);
SAME(HC_ENTER_SLEEP_STATE, HVCALL_ENTER_SLEEP_STATE);
SAME(HC_NOTIFY_PARTITION_EVENT, HVCALL_NOTIFY_PARTITION_EVENT);
SAME(HC_POST_MESSAGE, HVCALL_POST_MESSAGE);
SAME(HC_SIGNAL_EVENT, HVCALL_SIGNAL_EVENT);
SAME(HC_NOTIFY_PORT_RING_EMPTY, HVCALL_NOTIFY_PORT_RING_EMPTY);
SAME(HC_REGISTER_INTERCEPT_RESULT, HVCALL_REGISTER_INTERCEPT_RESULT);
SAME(HC_ASSERT_VIRTUAL_INTERRUPT, HVCALL_ASSERT_VIRTUAL_INTERRUPT);
SAME(HC_CREATE_PORT, HVCALL_CREATE_PORT);
SAME(HC_CONNECT_PORT, HVCALL_CONNECT_PORT);
SAME(HC_GET_VP_INDEX_FROM_APIC_ID, HVCALL_GET_VP_INDEX_FROM_APIC_ID);
SAME(HC_DISPATCH_VP, HVCALL_DISPATCH_VP);
SAME(HC_GET_GPA_PAGES_ACCESS_STATES, HVCALL_GET_GPA_PAGES_ACCESS_STATES);
SAME(HC_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS, HVCALL_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS);
SAME(HC_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS, HVCALL_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS);
SAME(HC_MAP_VP_STATE_PAGE, HVCALL_MAP_VP_STATE_PAGE);
SAME(HC_UNMAP_VP_STATE_PAGE, HVCALL_UNMAP_VP_STATE_PAGE);
SAME(HC_GET_VP_STATE, HVCALL_GET_VP_STATE);
SAME(HC_SET_VP_STATE, HVCALL_SET_VP_STATE);
SAME(HC_GET_PARTITION_PROPERTY_EX, HVCALL_GET_PARTITION_PROPERTY_EX);

/* ---- properties, flags, enumerations ---- */
SAME(SYS_SLEEP_STATE, HV_SYSTEM_PROPERTY_SLEEP_STATE);
SAME(SYS_SCHEDULER_TYPE, HV_SYSTEM_PROPERTY_SCHEDULER_TYPE);
SAME(SYS_DYNAMIC_PROCESSOR_FEATURE, HV_DYNAMIC_PROCESSOR_FEATURE_PROPERTY);
SAME(SYS_CRASHDUMP_AREA, HV_SYSTEM_PROPERTY_CRASHDUMPAREA);
SAME(SCHEDULER_LP, HV_SCHEDULER_TYPE_LP);
SAME(SCHEDULER_CORE_SMT, HV_SCHEDULER_TYPE_CORE_SMT);
SAME(SCHEDULER_ROOT, HV_SCHEDULER_TYPE_ROOT);
SAME(SLEEP_STATE_S5, HV_SLEEP_STATE_S5);
SAME(EVENT_ROOT_CRASHDUMP, HV_PARTITION_EVENT_ROOT_CRASHDUMP);
SAME(EVENT_ALL_LPS_STARTED, HV_PARTITION_ALL_LOGICAL_PROCESSORS_STARTED);
SAME(PROP_PRIVILEGE_FLAGS, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS);
SAME(PROP_SYNTHETIC_PROC_FEATURES, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES);
SAME(PROP_INTEGRATED_SCHEDULER, HV_PARTITION_PROPERTY_INTEGRATED_SCHEDULER_ENABLED);
SAME(PROP_GPA_PAGE_ACCESS_TRACKING, HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING);
SAME(PROP_UNIMPLEMENTED_MSR_ACTION, HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION);
SAME(PROP_XSAVE_FEATURES, HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES);
SAME(PROP_XSAVE_STATES, HV_PARTITION_PROPERTY_XSAVE_STATES);
SAME(PROP_MAX_XSAVE_DATA_SIZE, HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE);
SAME(PROP_CLOCK_FREQUENCY, HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY);
SAME(PROP_VMM_CAPABILITIES, HV_PARTITION_PROPERTY_VMM_CAPABILITIES);
SAME(CREATE_LAPIC, HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED);
SAME(MAP_READABLE, HV_MAP_GPA_READABLE);
SAME(MAP_WRITABLE, HV_MAP_GPA_WRITABLE);
SAME(MAP_KERNEL_EXECUTABLE, HV_MAP_GPA_KERNEL_EXECUTABLE);
SAME(MAP_USER_EXECUTABLE, HV_MAP_GPA_USER_EXECUTABLE);
SAME(MAP_ADJUSTABLE, HV_MAP_GPA_ADJUSTABLE);
SAME(MAP_NO_ACCESS, HV_MAP_GPA_NO_ACCESS);
SAME(MAP_NOT_CACHED, HV_MAP_GPA_NOT_CACHED);
SAME(MAP_LARGE_PAGE, HV_MAP_GPA_LARGE_PAGE);
SAME(UNMAP_LARGE_PAGE, HV_UNMAP_GPA_LARGE_PAGE);
SAME(MAP_ANY_EXECUTABLE, HV_MAP_GPA_EXECUTABLE);
SAME(HOST_MAKE_EXCLUSIVE, HV_MODIFY_SPA_PAGE_HOST_ACCESS_MAKE_EXCLUSIVE);
SAME(HOST_MAKE_SHARED, HV_MODIFY_SPA_PAGE_HOST_ACCESS_MAKE_SHARED);
SAME(HOST_LARGE_PAGE, HV_MODIFY_SPA_PAGE_HOST_ACCESS_LARGE_PAGE);
SAME(HOST_HUGE_PAGE, HV_MODIFY_SPA_PAGE_HOST_ACCESS_HUGE_PAGE);
BITS(ACCESS_CLEAR_ACCESSED, union hv_gpa_page_access_state_flags, as_uint64, clear_accessed)
BITS(ACCESS_SET_ACCESSED, union hv_gpa_page_access_state_flags, as_uint64, set_accessed)
BITS(ACCESS_CLEAR_DIRTY, union hv_gpa_page_access_state_flags, as_uint64, clear_dirty)
BITS(ACCESS_SET_DIRTY, union hv_gpa_page_access_state_flags, as_uint64, set_dirty)
SAME(DISPATCH_CLEAR_INTERCEPT, HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND);
SAME(DISPATCH_SCAN_VECTORS, HV_DISPATCH_VP_FLAG_SCAN_INTERRUPT_INJECTION);
SAME(EXT_VECTOR_INJECTION, HV_VP_DISPATCH_INTERRUPT_INJECTION_AVAILABLE);
SAME(PAGE_VECTORS, HV_VP_REGISTER_PAGE_MAX_VECTOR_COUNT);
SAME(DISPATCH_STATE_BLOCKED, HV_VP_DISPATCH_STATE_BLOCKED);
SAME(DISPATCH_STATE_READY, HV_VP_DISPATCH_STATE_READY);
SAME(DISPATCH_EVENT_NONE, HV_VP_DISPATCH_EVENT_INVALID);
SAME(DISPATCH_EVENT_SUSPEND, HV_VP_DISPATCH_EVENT_SUSPEND);
SAME(DISPATCH_EVENT_INTERCEPT, HV_VP_DISPATCH_EVENT_INTERCEPT);
SAME(INTERCEPT_IO_PORT, HV_INTERCEPT_TYPE_X64_IO_PORT);
SAME(INTERCEPT_MSR, HV_INTERCEPT_TYPE_X64_MSR);
SAME(INTERCEPT_CPUID, HV_INTERCEPT_TYPE_X64_CPUID);
SAME(INTERCEPT_EXCEPTION, HV_INTERCEPT_TYPE_EXCEPTION);
SAME(INTERCEPT_MMIO, HV_INTERCEPT_TYPE_MMIO);
SAME(INTERCEPT_GLOBAL_CPUID, HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID);
SAME(INTERCEPT_APIC_SMI, HV_INTERCEPT_TYPE_X64_APIC_SMI);
SAME(INTERCEPT_HYPERCALL, HV_INTERCEPT_TYPE_HYPERCALL);
SAME(INTERCEPT_INIT_SIPI, HV_INTERCEPT_TYPE_X64_APIC_INIT_SIPI);
SAME(INTERCEPT_PATCH_LEVEL, HV_INTERCEPT_MC_UPDATE_PATCH_LEVEL_MSR_READ);
SAME(INTERCEPT_APIC_WRITE, HV_INTERCEPT_TYPE_X64_APIC_WRITE);
SAME(INTERCEPT_MSR_INDEX, HV_INTERCEPT_TYPE_X64_MSR_INDEX);
SAME(INTERCEPT_TYPES, HV_INTERCEPT_TYPE_MAX);
SAME(CREATE_X2APIC, HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE);
SAME(HC_GET_VP_CPUID_VALUES, HVCALL_GET_VP_CPUID_VALUES);
SAME32(MSG_EXCEPTION, HVMSG_X64_EXCEPTION_INTERCEPT);
SAME32(MSG_DELIVERABLE, HVMSG_X64_INTERRUPTION_DELIVERABLE);
SAME32(MSG_HYPERCALL, HVMSG_HYPERCALL_INTERCEPT);
SAME(REG_MTRR_DEF, HV_X64_REGISTER_MSR_MTRR_DEF_TYPE);
SAME(REG_MTRR_BASE0, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0);
SAME(REG_MTRR_MASK0, HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0);
SAME(REG_MTRR_FIX64K, HV_X64_REGISTER_MSR_MTRR_FIX64K00000);
SAME(INTERCEPT_READ, HV_INTERCEPT_ACCESS_READ);
SAME(INTERCEPT_WRITE, HV_INTERCEPT_ACCESS_WRITE);
SAME(INTERCEPT_EXECUTE, HV_INTERCEPT_ACCESS_EXECUTE);
SAME(STATS_HYPERVISOR, HV_STATS_OBJECT_HYPERVISOR);
SAME(STATS_LP, HV_STATS_OBJECT_LOGICAL_PROCESSOR);
SAME(STATS_PARTITION, HV_STATS_OBJECT_PARTITION);
SAME(STATS_VP, HV_STATS_OBJECT_VP);
SAME(DEVICE_TYPE_IOAPIC, HV_DEVICE_TYPE_IOAPIC);
SAME(INTERRUPT_SOURCE_MSI, HV_INTERRUPT_SOURCE_MSI);
SAME(INTERRUPT_SOURCE_IOAPIC, HV_INTERRUPT_SOURCE_IOAPIC);
SAME(TARGET_PROCESSOR_SET, HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET);
SAME(VP_SET_SPARSE, HV_GENERIC_SET_SPARSE_4K);
SAME(IPI_FIXED, HV_X64_INTERRUPT_TYPE_FIXED);
SAME(IPI_LOWEST, HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY);
SAME(IPI_INIT, HV_X64_INTERRUPT_TYPE_INIT);
SAME(IPI_SIPI, HV_X64_INTERRUPT_TYPE_SIPI);
SAME(IPI_EXTINT, HV_X64_INTERRUPT_TYPE_EXTINT);
SAME(STATE_PAGE_REGISTERS, HV_VP_STATE_PAGE_REGISTERS);
SAME(STATE_PAGE_MESSAGE, HV_VP_STATE_PAGE_INTERCEPT_MESSAGE);
SAME32(VP_STATE_LAPIC, HV_GET_SET_VP_STATE_LAPIC_STATE);
SAME32(VP_STATE_XSAVE, HV_GET_SET_VP_STATE_XSAVE);
SAME32(VP_STATE_SIM, HV_GET_SET_VP_STATE_SIM_PAGE);
SAME32(VP_STATE_SIEF, HV_GET_SET_VP_STATE_SIEF_PAGE);
SAME32(VP_STATE_TIMERS, HV_GET_SET_VP_STATE_SYNTHETIC_TIMERS);

/* ---- messages ---- */
SAME32(MSG_UNMAPPED_GPA, HVMSG_UNMAPPED_GPA);
SAME32(MSG_GPA_INTERCEPT, HVMSG_GPA_INTERCEPT);
SAME32(MSG_INVALID_VP_REGISTER_VALUE, HVMSG_INVALID_VP_REGISTER_VALUE);
SAME32(MSG_UNRECOVERABLE_EXCEPTION, HVMSG_UNRECOVERABLE_EXCEPTION);
SAME32(MSG_OPAQUE_INTERCEPT, HVMSG_OPAQUE_INTERCEPT);
SAME32(MSG_TIMER_EXPIRED, HVMSG_TIMER_EXPIRED);
SAME32(MSG_SYNIC_SINT, HVMSG_SYNIC_SINT_INTERCEPT);
SAME32(MSG_SCHEDULER_VP_SIGNAL_BITSET, HVMSG_SCHEDULER_VP_SIGNAL_BITSET);
SAME32(MSG_IO_PORT, HVMSG_X64_IO_PORT_INTERCEPT);
SAME32(MSG_MSR, HVMSG_X64_MSR_INTERCEPT);
SAME32(MSG_CPUID, HVMSG_X64_CPUID_INTERCEPT);
SAME32(MSG_APIC_EOI, HVMSG_X64_APIC_EOI);
SAME32(MSG_HALT, HVMSG_X64_HALT);

/* ---- registers Linux names ---- */
SAME(REG_EXPLICIT_SUSPEND, HV_REGISTER_EXPLICIT_SUSPEND);
SAME(REG_INTERCEPT_SUSPEND, HV_REGISTER_INTERCEPT_SUSPEND);
SAME(REG_DISPATCH_SUSPEND, HV_REGISTER_DISPATCH_SUSPEND);
SAME(REG_DR0, HV_X64_REGISTER_DR0);
SAME(REG_DR6, HV_X64_REGISTER_DR6);
SAME(REG_DR7, HV_X64_REGISTER_DR7);
SAME(REG_MTRR_FIRST, HV_X64_REGISTER_MSR_MTRR_CAP);
SAME(REG_MTRR_LAST, HV_X64_REGISTER_MSR_MTRR_FIX4KF8000);
SAME(REG_VP_RUNTIME, HV_REGISTER_VP_RUNTIME);
SAME(REG_GUEST_OS_ID, HV_REGISTER_GUEST_OS_ID);
SAME(REG_VP_INDEX, HV_REGISTER_VP_INDEX);
SAME(REG_VP_ASSIST_PAGE, HV_REGISTER_VP_ASSIST_PAGE);
SAME(REG_ROOT_SIGNAL_COUNT, HV_REGISTER_VP_ROOT_SIGNAL_COUNT);
SAME(REG_REFERENCE_TSC, HV_REGISTER_REFERENCE_TSC);
SAME(REG_SINT0, HV_REGISTER_SINT0);
SAME(REG_SIRBP, HV_REGISTER_SIRBP);
SAME(REG_STIMER0_CONFIG, HV_REGISTER_STIMER0_CONFIG);
SAME(CLASS_GENERAL, BIT(HV_X64_REGISTER_CLASS_GENERAL));
SAME(CLASS_IP, BIT(HV_X64_REGISTER_CLASS_IP));
SAME(CLASS_XMM, BIT(HV_X64_REGISTER_CLASS_XMM));
SAME(CLASS_SEGMENT, BIT(HV_X64_REGISTER_CLASS_SEGMENT));
SAME(CLASS_FLAGS, BIT(HV_X64_REGISTER_CLASS_FLAGS));
SAME(REGISTER_PAGE_VERSION, HV_VP_REGISTER_PAGE_VERSION_1);

/* ---- CPUID ---- */
SAME(LEAF_VENDOR, HYPERV_CPUID_VENDOR_AND_MAX_FUNCTIONS);
SAME(LEAF_INTERFACE, HYPERV_CPUID_INTERFACE);
SAME(LEAF_VERSION, HYPERV_CPUID_VERSION);
SAME(LEAF_FEATURES, HYPERV_CPUID_FEATURES);
SAME(LEAF_ENLIGHTENMENT, HYPERV_CPUID_ENLIGHTMENT_INFO);
SAME(LEAF_LIMITS, HYPERV_CPUID_IMPLEMENT_LIMITS);
SAME(LEAF_CPU_MANAGEMENT, HYPERV_CPUID_CPU_MANAGEMENT_FEATURES);
SAME(LEAF_MAX, HYPERV_CPUID_ISOLATION_CONFIG);
SAME(LEAF_HYPERVISOR_LAST, HYPERV_CPUID_MAX);
SAME(FEAT_VP_RUNTIME, HV_MSR_VP_RUNTIME_AVAILABLE);
SAME(FEAT_REFCOUNT, HV_MSR_TIME_REF_COUNT_AVAILABLE);
SAME(FEAT_SYNIC, HV_MSR_SYNIC_AVAILABLE);
SAME(FEAT_STIMERS, HV_MSR_SYNTIMER_AVAILABLE);
SAME(FEAT_APIC_MSRS, HV_MSR_APIC_ACCESS_AVAILABLE);
SAME(FEAT_HYPERCALL, HV_MSR_HYPERCALL_AVAILABLE);
SAME(FEAT_VP_INDEX, HV_MSR_VP_INDEX_AVAILABLE);
SAME(FEAT_REFERENCE_TSC, HV_MSR_REFERENCE_TSC_AVAILABLE);
SAME(FEAT_FREQUENCY, HV_ACCESS_FREQUENCY_MSRS);
SAME(PRIV_CREATE_PARTITIONS, HV_CREATE_PARTITIONS);
SAME(PRIV_PARTITION_ID, HV_ACCESS_PARTITION_ID);
SAME(PRIV_MEMORY_POOL, HV_ACCESS_MEMORY_POOL);
SAME(PRIV_POST_MESSAGES, HV_POST_MESSAGES);
SAME(PRIV_SIGNAL_EVENTS, HV_SIGNAL_EVENTS);
SAME(PRIV_CREATE_PORT, HV_CREATE_PORT);
SAME(PRIV_CONNECT_PORT, HV_CONNECT_PORT);
SAME(PRIV_STATS, HV_ACCESS_STATS);
SAME(PRIV_CPU_MANAGEMENT, HV_CPU_MANAGEMENT);
SAME(MISC_FREQUENCY_MSRS, HV_FEATURE_FREQUENCY_MSRS_AVAILABLE);
SAME(MISC_DIRECT_STIMERS, HV_STIMER_DIRECT_MODE_AVAILABLE);
SAME(MISC_CRASH_MSRS, HV_FEATURE_GUEST_CRASH_MSR_AVAILABLE);
SAME(HINT_APIC_MSRS, HV_X64_APIC_ACCESS_RECOMMENDED);
SAME(HINT_RELAXED_TIMING, HV_X64_RELAXED_TIMING_RECOMMENDED);
SAME(HINT_NO_AUTO_EOI, HV_DEPRECATING_AEOI_RECOMMENDED);
SAME(MANAGE_START_LP, HV_X64_START_LOGICAL_PROCESSOR);
SAME(MANAGE_CREATE_ROOT_VP, HV_X64_CREATE_ROOT_VIRTUAL_PROCESSOR);
SAME(MANAGE_IDENTITY, HV_X64_RESERVED_IDENTITY_BIT);

/* ---- synthetic MSRs ---- */
SAME(SMSR_GUEST_OS_ID, HV_X64_MSR_GUEST_OS_ID);
SAME(SMSR_HYPERCALL, HV_X64_MSR_HYPERCALL);
SAME(SMSR_VP_INDEX, HV_X64_MSR_VP_INDEX);
SAME(SMSR_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME);
SAME(SMSR_TIME_REF_COUNT, HV_X64_MSR_TIME_REF_COUNT);
SAME(SMSR_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC);
SAME(SMSR_TSC_FREQUENCY, HV_X64_MSR_TSC_FREQUENCY);
SAME(SMSR_APIC_FREQUENCY, HV_X64_MSR_APIC_FREQUENCY);
SAME(SMSR_EOI, HV_X64_MSR_EOI);
SAME(SMSR_ICR, HV_X64_MSR_ICR);
SAME(SMSR_TPR, HV_X64_MSR_TPR);
SAME(SMSR_VP_ASSIST_PAGE, HV_X64_MSR_VP_ASSIST_PAGE);
SAME(SMSR_SCONTROL, HV_X64_MSR_SCONTROL);
SAME(SMSR_SVERSION, HV_X64_MSR_SVERSION);
SAME(SMSR_SIEFP, HV_X64_MSR_SIEFP);
SAME(SMSR_SIMP, HV_X64_MSR_SIMP);
SAME(SMSR_EOM, HV_X64_MSR_EOM);
SAME(SMSR_SIRBP, HV_X64_MSR_SIRBP);
SAME(SMSR_SINT0, HV_X64_MSR_SINT0);
SAME(SMSR_SINT15, HV_X64_MSR_SINT15);
SAME(SMSR_STIMER0_CONFIG, HV_X64_MSR_STIMER0_CONFIG);
SAME(SMSR_STIMER3_COUNT, HV_X64_MSR_STIMER3_COUNT);
SAME(SMSR_RESET, HV_X64_MSR_RESET);
SAME(SMSR_GUEST_IDLE, HV_X64_MSR_GUEST_IDLE);
SAME(SMSR_REENLIGHTENMENT, HV_X64_MSR_REENLIGHTENMENT_CONTROL);
SAME(SMSR_TSC_EMULATION_STATUS, HV_X64_MSR_TSC_EMULATION_STATUS);
SAME(SMSR_TSC_INVARIANT, HV_X64_MSR_TSC_INVARIANT_CONTROL);
SAME(SMSR_CRASH_P0, HV_X64_MSR_CRASH_P0);
SAME(SMSR_CRASH_P4, HV_X64_MSR_CRASH_P4);
SAME(SMSR_CRASH_CTL, HV_X64_MSR_CRASH_CTL);
SAME(SMSR_ENABLE, HV_X64_MSR_HYPERCALL_ENABLE);
SAME(SYNIC_VERSION, HV_SYNIC_VERSION_1);
SAME(SYNIC_SINTS, HV_SYNIC_SINT_COUNT);
SAME(SYNIC_ENABLE, HV_SYNIC_CONTROL_ENABLE);
SAME(SINT_MASKED, HV_SYNIC_SINT_MASKED);
SAME(SINT_VECTOR_MASK, HV_SYNIC_SINT_VECTOR_MASK);
SAME(SINT_FIRST_VECTOR, HV_SYNIC_FIRST_VALID_VECTOR);
SAME(SINT_AUTO_EOI, HV_SYNIC_SINT_AUTO_EOI);
BITS(SINT_POLLING, union hv_synic_sint, as_uint64, polling);
BITS(SINT_AS_INTERCEPT, union hv_synic_sint, as_uint64, as_intercept);
SAME(EVENT_FLAGS, HV_EVENT_FLAGS_COUNT);
SAME(EVENT_FLAGS_BYTES, HV_EVENT_FLAGS_BYTE_COUNT);
SAME(EVENT_RING_PORTS, HV_SYNIC_EVENT_RING_MESSAGE_COUNT);
SAME(STIMERS, HV_SYNIC_STIMER_COUNT);
BITS(STIMER_ENABLE, union hv_stimer_config, as_uint64, enable);
BITS(STIMER_PERIODIC, union hv_stimer_config, as_uint64, periodic);
BITS(STIMER_LAZY, union hv_stimer_config, as_uint64, lazy);
BITS(STIMER_AUTO_ENABLE, union hv_stimer_config, as_uint64, auto_enable);
BITS(1ul << STIMER_VECTOR_SHIFT, union hv_stimer_config, as_uint64, apic_vector);
BITS(STIMER_DIRECT, union hv_stimer_config, as_uint64, direct_mode);
BITS(1ul << STIMER_SINT_SHIFT, union hv_stimer_config, as_uint64, sintx);
SAME(PORT_MESSAGE, HV_PORT_TYPE_MESSAGE);
SAME(PORT_EVENT, HV_PORT_TYPE_EVENT);
SAME(PORT_DOORBELL, HV_PORT_TYPE_DOORBELL);
SAME(DOORBELL_SIZE_MASK, HV_DOORBELL_FLAG_TRIGGER_SIZE_MASK);
SAME(DOORBELL_SIZE_QWORD, HV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD);
SAME(DOORBELL_ANY_VALUE, HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE);
SAME(SINT_INTERCEPT, HV_SYNIC_INTERCEPTION_SINT_INDEX);
SAME(CRASH_PARAMS, HV_X64_MSR_CRASH_PARAMS);
SAME(CRASH_NOTIFY_MSG, HV_CRASH_CTL_CRASH_NOTIFY_MSG);
SAME(CRASH_NOTIFY, HV_CRASH_CTL_CRASH_NOTIFY);

/* ---- hypercall inputs and outputs ---- */
SIZE(wire_proximity, struct hv_proximity_domain_info);
SIZE(wire_vp_set, struct hv_vpset);
SIZE(wire_segment, struct hv_x64_segment_register);
AT(wire_segment, selector, struct hv_x64_segment_register, selector);
AT(wire_segment, attributes, struct hv_x64_segment_register, attributes);
SIZE(wire_value, union hv_register_value);
SIZE(in_partition, struct hv_input_initialize_partition);
SIZE(in_partition, struct hv_input_finalize_partition);
SIZE(in_partition, struct hv_input_delete_partition);
SIZE(out_partition, struct hv_output_create_partition);
SIZE(out_partition, struct hv_output_get_partition_id);
SIZE(in_create_partition, struct hv_input_create_partition);
AT(in_create_partition, compatibility, struct hv_input_create_partition, compatibility_version);
AT(in_create_partition, disabled_features, struct hv_input_create_partition, partition_creation_properties);
AT(in_create_partition, isolation, struct hv_input_create_partition, isolation_properties);
SIZE(in_get_property, struct hv_input_get_partition_property);
SIZE(out_get_property, struct hv_output_get_partition_property);
SIZE(in_set_property, struct hv_input_set_partition_property);
AT(in_set_property, value, struct hv_input_set_partition_property, property_value);
SIZE(in_get_property_ex, struct hv_input_get_partition_property_ex);
AT(in_get_property_ex, argument, struct hv_input_get_partition_property_ex, arg);
SIZE(out_vmm_capabilities, struct hv_partition_property_vmm_capabilities);
SIZE(in_get_system_property, struct hv_input_get_system_property);
SIZE(out_get_system_property, struct hv_output_get_system_property);
AT(in_set_system_property, sleep_state, struct hv_input_set_system_property, set_sleep_state_info.sleep_state);
AT(in_set_system_property, pm1a_slp_typ, struct hv_input_set_system_property, set_sleep_state_info.pm1a_slp_typ);
SIZE(in_enter_sleep_state, struct hv_input_enter_sleep_state);
SIZE(in_notify_event, struct hv_input_notify_partition_event);
SIZE(in_lp_run_time, struct hv_input_get_logical_processor_run_time);
SIZE(out_lp_run_time, struct hv_output_get_logical_processor_run_time);
SIZE(in_add_lp, struct hv_input_add_logical_processor);
AT(in_add_lp, apic_id, struct hv_input_add_logical_processor, apic_id);
SIZE(out_add_lp, struct hv_output_add_logical_processor);
SIZE(in_deposit, struct hv_deposit_memory);
AT(in_deposit, pfn, struct hv_deposit_memory, gpa_page_list);
SIZE(in_withdraw, struct hv_input_withdraw_memory);
SIZE(in_map_gpa, struct hv_input_map_gpa_pages);
AT(in_map_gpa, gfn, struct hv_input_map_gpa_pages, target_gpa_base);
AT(in_map_gpa, flags, struct hv_input_map_gpa_pages, map_flags);
AT(in_map_gpa, pfn, struct hv_input_map_gpa_pages, source_gpa_page_list);
SIZE(in_unmap_gpa, struct hv_input_unmap_gpa_pages);
AT(in_unmap_gpa, flags, struct hv_input_unmap_gpa_pages, unmap_flags);
SIZE(in_host_access, struct hv_input_modify_sparse_spa_page_host_access);
AT(in_host_access, flags, struct hv_input_modify_sparse_spa_page_host_access, flags);
AT(in_host_access, partition, struct hv_input_modify_sparse_spa_page_host_access, partition_id);
AT(in_host_access, pfn, struct hv_input_modify_sparse_spa_page_host_access, spa_page_list);
SIZE(in_access_states, struct hv_input_get_gpa_pages_access_state);
AT(in_access_states, gfn, struct hv_input_get_gpa_pages_access_state, hv_gpa_page_number);
SIZE(in_create_vp, struct hv_create_vp);
AT(in_create_vp, vp, struct hv_create_vp, vp_index);
AT(in_create_vp, subnode, struct hv_create_vp, subnode_id);
AT(in_create_vp, flags, struct hv_create_vp, flags);
SIZE(in_delete_vp, union hv_input_delete_vp);
AT(in_delete_vp, vp, union hv_input_delete_vp, vp_index);
SIZE(in_get_registers, struct hv_input_get_vp_registers);
AT(in_get_registers, vp, struct hv_input_get_vp_registers, vp_index);
AT(in_get_registers, name, struct hv_input_get_vp_registers, names);
SIZE(in_set_registers, struct hv_input_set_vp_registers);
AT(in_set_registers, element, struct hv_input_set_vp_registers, elements);
SIZE(wire_register, struct hv_register_assoc);
AT(wire_register, value, struct hv_register_assoc, value);
SIZE(in_vp_state, struct hv_input_get_vp_state);
AT(in_vp_state, type, struct hv_input_get_vp_state, state_data.type);
AT(in_vp_state, xsave_states, struct hv_input_get_vp_state, state_data.xsave.states);
AT(in_vp_state, pfn, struct hv_input_get_vp_state, output_data_pfns);
AT(in_vp_state, pfn, struct hv_input_set_vp_state, data);
SIZE(in_map_state_page, struct hv_input_map_vp_state_page);
AT(in_map_state_page, type, struct hv_input_map_vp_state_page, type);
AT(in_map_state_page, flags, struct hv_input_map_vp_state_page, flags);
SIZE(in_unmap_state_page, struct hv_input_unmap_vp_state_page);
SIZE(out_map_page, struct hv_output_map_vp_state_page);
SIZE(out_map_page, struct hv_output_map_stats_page);
SIZE(in_dispatch, struct hv_input_dispatch_vp);
AT(in_dispatch, flags, struct hv_input_dispatch_vp, flags);
SIZE(out_dispatch, struct hv_output_dispatch_vp);
AT(out_dispatch, event, struct hv_output_dispatch_vp, dispatch_event);
SIZE(in_stats_page, struct hv_input_map_stats_page);
SIZE(in_stats_page, struct hv_input_unmap_stats_page);
AT(in_stats_page, id, struct hv_input_map_stats_page, identity);
SIZE(wire_interrupt_entry, struct hv_interrupt_entry);
SIZE(in_map_interrupt, struct hv_input_map_device_interrupt);
AT(in_map_interrupt, entry, struct hv_input_map_device_interrupt, logical_interrupt_entry);
AT(in_map_interrupt, trigger, struct hv_input_map_device_interrupt, interrupt_descriptor.trigger_mode);
AT(in_map_interrupt, vector, struct hv_input_map_device_interrupt, interrupt_descriptor.target.vector);
AT(in_map_interrupt, target_flags, struct hv_input_map_device_interrupt, interrupt_descriptor.target.flags);
AT(in_map_interrupt, targets, struct hv_input_map_device_interrupt, interrupt_descriptor.target.vp_set);
SIZE(out_map_interrupt, struct hv_output_map_device_interrupt);
SIZE(in_unmap_interrupt, struct hv_input_unmap_device_interrupt);
SIZE(in_send_ipi, struct hv_send_ipi);
AT(in_send_ipi, cpus, struct hv_send_ipi, cpu_mask);
SIZE(in_apic_ids, struct hv_get_vp_from_apic_id_in);
AT(in_apic_ids, apic_id, struct hv_get_vp_from_apic_id_in, apic_ids);
SIZE(in_assert_interrupt, struct hv_input_assert_virtual_interrupt);
AT(in_assert_interrupt, destination, struct hv_input_assert_virtual_interrupt, dest_addr);
AT(in_assert_interrupt, vector, struct hv_input_assert_virtual_interrupt, vector);
BITS((u64)ASSERT_LEVEL << 32, union hv_interrupt_control, as_uint64, level_triggered)
BITS((u64)ASSERT_LOGICAL << 32, union hv_interrupt_control, as_uint64, logical_dest_mode)
SIZE(in_retarget_interrupt, struct hv_retarget_device_interrupt);
AT(in_retarget_interrupt, vector, struct hv_retarget_device_interrupt, int_target.vector);
SIZE(in_send_ipi_ex, struct hv_send_ipi_ex);
SIZE(in_create_port, struct hv_input_create_port);
SIZE(in_connect_port, struct hv_input_connect_port);
SIZE(wire_port_info, struct hv_port_info);
AT(wire_port_info, sint, struct hv_port_info, doorbell_port_info.target_sint);
AT(wire_port_info, vp, struct hv_port_info, doorbell_port_info.target_vp);
AT(wire_port_info, rest, struct hv_port_info, event_port_info.base_flag_number);
SIZE(wire_connection_info, struct hv_connection_info);
AT(wire_connection_info, gpa, struct hv_connection_info, doorbell_connection_info.gpa);
AT(wire_connection_info, value, struct hv_connection_info, doorbell_connection_info.trigger_value);
AT(wire_connection_info, flags, struct hv_connection_info, doorbell_connection_info.flags);
SIZE(wire_event_ring, struct hv_synic_event_ring);
AT(wire_event_ring, data, struct hv_synic_event_ring, data);
SIZE(wire_timer_message, struct hv_timer_message_payload);
SIZE(in_port, union hv_input_delete_port);
SIZE(in_port, union hv_input_disconnect_port);
SIZE(in_ring_empty, union hv_input_notify_port_ring_empty);

/* ---- messages and pages ---- */
SIZE(message, struct hv_message);
AT(message, size, struct hv_message, header.payload_size);
AT(message, flags, struct hv_message, header.message_flags);
AT(message, sender, struct hv_message, header.sender);
AT(message, payload, struct hv_message, u.payload);
SIZE(wire_intercept, struct hv_x64_intercept_message_header);
AT(wire_intercept, access, struct hv_x64_intercept_message_header, intercept_access_type);
AT(wire_intercept, execution_state, struct hv_x64_intercept_message_header, execution_state);
AT(wire_intercept, cs, struct hv_x64_intercept_message_header, cs_segment);
AT(wire_intercept, rip, struct hv_x64_intercept_message_header, rip);
BITS(BIT(STATE_CR0_PE_SHIFT), union hv_x64_vp_execution_state, as_uint16, cr0_pe)
BITS(BIT(STATE_CR0_AM_SHIFT), union hv_x64_vp_execution_state, as_uint16, cr0_am)
BITS(BIT(STATE_EFER_LMA_SHIFT), union hv_x64_vp_execution_state, as_uint16, efer_lma)
BITS(BIT(STATE_SHADOW_SHIFT), union hv_x64_vp_execution_state, as_uint16, interrupt_shadow)
BITS(MEMORY_GVA_VALID, union hv_x64_memory_access_info, as_uint8, gva_valid);
BITS(MEMORY_GVA_GPA_VALID, union hv_x64_memory_access_info, as_uint8, gva_gpa_valid);
AT(wire_memory_message, access_info, struct hv_x64_memory_intercept_message, memory_access_info);
SIZE(wire_memory_message, struct hv_x64_memory_intercept_message);
AT(wire_memory_message, byte_count, struct hv_x64_memory_intercept_message, instruction_byte_count);
AT(wire_memory_message, gva, struct hv_x64_memory_intercept_message, guest_virtual_address);
AT(wire_memory_message, gpa, struct hv_x64_memory_intercept_message, guest_physical_address);
AT(wire_memory_message, bytes, struct hv_x64_memory_intercept_message, instruction_bytes);
SIZE(wire_opaque_message, struct hv_opaque_intercept_message);
SIZE(wire_eoi_message, struct hv_x64_apic_eoi_message);
AT(wire_signal_message, vps, struct hv_vp_signal_bitset_scheduler_message, vp_count);
AT(wire_signal_message, format, struct hv_vp_signal_bitset_scheduler_message, vp_bitset);
SIZE(wire_tsc_page, struct ms_hyperv_tsc_page);
AT(wire_tsc_page, scale, struct ms_hyperv_tsc_page, tsc_scale);
AT(wire_tsc_page, offset, struct ms_hyperv_tsc_page, tsc_offset);
SIZE(wire_register_page, struct hv_vp_register_page);
AT(wire_register_page, dirty, struct hv_vp_register_page, dirty);
AT(wire_register_page, gpr, struct hv_vp_register_page, gp_registers);
AT(wire_register_page, rip, struct hv_vp_register_page, rip);
AT(wire_register_page, xmm, struct hv_vp_register_page, xmm_registers);
AT(wire_register_page, segment, struct hv_vp_register_page, segment_registers);
AT(wire_register_page, cr0, struct hv_vp_register_page, cr0);
AT(wire_register_page, interrupt_state, struct hv_vp_register_page, interrupt_state);
AT(wire_register_page, xfem, struct hv_vp_register_page, xfem);
AT(wire_register_page, vectors, struct hv_vp_register_page, interrupt_vectors);
BITS(SYNTH_PRESENT, union hv_partition_synthetic_processor_features, as_uint64[0], hypervisor_present)
BITS(SYNTH_HV1, union hv_partition_synthetic_processor_features, as_uint64[0], hv1)
BITS(SYNTH_VP_RUNTIME, union hv_partition_synthetic_processor_features, as_uint64[0], access_vp_run_time_reg)
BITS(SYNTH_REFCOUNT, union hv_partition_synthetic_processor_features, as_uint64[0], access_partition_reference_counter)
BITS(SYNTH_SYNIC, union hv_partition_synthetic_processor_features, as_uint64[0], access_synic_regs)
BITS(SYNTH_STIMER, union hv_partition_synthetic_processor_features, as_uint64[0], access_synthetic_timer_regs)
BITS(SYNTH_APIC_MSRS, union hv_partition_synthetic_processor_features, as_uint64[0], access_intr_ctrl_regs)
BITS(SYNTH_HYPERCALL, union hv_partition_synthetic_processor_features, as_uint64[0], access_hypercall_regs)
BITS(SYNTH_VP_INDEX, union hv_partition_synthetic_processor_features, as_uint64[0], access_vp_index)
BITS(SYNTH_REFERENCE_TSC, union hv_partition_synthetic_processor_features, as_uint64[0], access_partition_reference_tsc)
BITS(SYNTH_GUEST_IDLE, union hv_partition_synthetic_processor_features, as_uint64[0], access_guest_idle_reg)
BITS(SYNTH_FREQUENCY, union hv_partition_synthetic_processor_features, as_uint64[0], access_frequency_regs)
BITS(SYNTH_START_VP, union hv_partition_synthetic_processor_features, as_uint64[0], start_virtual_processor)
BITS(SYNTH_DIRECT_TIMERS, union hv_partition_synthetic_processor_features, as_uint64[0], direct_synthetic_timers)
BITS(SYNTH_EX_MASKS, union hv_partition_synthetic_processor_features, as_uint64[0], extended_processor_masks)
BITS(SYNTH_TLB_FLUSH, union hv_partition_synthetic_processor_features, as_uint64[0], tb_flush_hypercalls)
BITS(SYNTH_CLUSTER_IPI, union hv_partition_synthetic_processor_features, as_uint64[0], synthetic_cluster_ipi)
BITS(SYNTH_LONG_SPIN_WAIT, union hv_partition_synthetic_processor_features, as_uint64[0], notify_long_spin_wait)
BITS(SYNTH_SIGNAL_EVENTS, union hv_partition_synthetic_processor_features, as_uint64[0], signal_events)
