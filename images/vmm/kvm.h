/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of kvm-vmm share. */
#ifndef HVLAB_KVM_H
#define HVLAB_KVM_H

#include <linux/kvm.h>

#include "backend.h"

/* Whether a memory slot of the partition covers this address. */
bool kvm_has_memory(uint64_t gpa);

/*
 * kvm_exit.c: translate an exit of KVM into a message of the hypervisor. -1 with errno EPROTO for an exit
 * that has no counterpart.
 */
int kvm_translate(const struct kvm_run *, uint64_t rip, uint32_t vp, struct abi_message *);

#endif
