/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a running child does and the root hears: intercepts, interrupts, INIT and SIPI, translation. */
#include "tiny.h"

#define REG_RCX (REG_RAX + 1)
#define REG_RBX (REG_RAX + 3)
#define PORT 0x10
#define LEAF 0x40001234u
#define SOME_MSR 0x1234u
#define ACCESS_BIT(a) (1u << (a))
#define SIPI_VECTOR CODE_GFN		/* the code's page, as a real mode segment */
#define TABLE_GFN 0x20ul
#define GVA 0x7f0000403000ul
#define GVA_32 0x40c05678u
#define MISSING_GFN 0x30ul		/* a table and a page that are not there yet */
#define OTHER_GFN 0x31ul
#define VECTOR 0x61
#define OTHER_VECTOR 0x72
#define TOO_LOW 0xf			/* no vector for a local APIC */
#define SHADOW 1			/* interrupt_shadow of hv_x64_interrupt_state_register */
#define GATE_32 0x8e00u
#define SEGMENT_REAL_CODE (0xfffful | 0x9bul << 48)	/* limit, attributes */

CASE("one", io_message, "an I/O port message says port, size, direction and where")
{
	struct child c = new_child(0, child_in);
	struct wire_io_message *m = (void *)run_child(&c, 0)->payload;

	EXPECT(c.message->type, MSG_IO_PORT, "message");
	EXPECT(c.message->sender, c.id, "sender");
	EXPECT(m->port, PORT, "port");
	EXPECT(m->access_info & 7, 1, "size");
	EXPECT(m->header.access, INTERCEPT_READ, "access");
	EXPECT(m->header.vp, 0, "VP");
	EXPECT(m->header.rip, CODE_GFN * PAGE, "rip");
	EXPECT(m->header.length_cr8 & 15, 2, "length of the instruction");
	EXPECT(set_register(c.id, 0, REG_RAX, 0x5a), ST_OK, "answer in rax");
	EXPECT(set_register(c.id, 0, REG_RIP, CODE_GFN * PAGE + 2), ST_OK, "step over");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_HALT, "next message");
	EXPECT(*data_of(&c, 0), 0x5a, "what the child read from the port");
}

CASE("one", same_again, "a message that is not acted upon comes again")
{
	struct child c = new_child(0, child_in);

	for (u32 i = 0; i < 3; i++) {
		memset(c.message, 0, sizeof *c.message);
		EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_IO_PORT, "message");
	}
}

CASE("one", cpuid_intercept, "CPUID reaches the root for the leaf that it asked for, and no other")
{
	struct child c = new_child(0, child_cpuid);
	struct wire_cpuid_message *m = (void *)c.message->payload;

	EXPECT(install_intercept(c.id, INTERCEPT_CPUID, ACCESS_BIT(INTERCEPT_EXECUTE), LEAF), ST_OK, "INSTALL_INTERCEPT");
	EXPECT(set_register(c.id, 0, REG_RAX, 0), ST_OK, "set rax");
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "message for leaf 0");
	CHECK(*data_of(&c, 0) != 0, "leaf 0 is empty");
	EXPECT(set_register(c.id, 0, REG_RAX, LEAF), ST_OK, "set rax");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_CPUID, "message for our leaf");
	EXPECT(m->rax, LEAF, "rax in the message");
	EXPECT(m->header.length_cr8 & 15, 2, "length of the instruction");
}

CASE("one", msr_intercept, "RDMSR reaches the root that asked for reads of MSRs")
{
	struct child c = new_child(0, child_msr);
	struct wire_msr_message *m = (void *)c.message->payload;

	EXPECT(install_intercept(c.id, INTERCEPT_MSR, ACCESS_BIT(INTERCEPT_READ), 0), ST_OK, "INSTALL_INTERCEPT");
	EXPECT(set_register(c.id, 0, REG_RCX, SOME_MSR), ST_OK, "set rcx");
	EXPECT(run_child(&c, 0)->type, MSG_MSR, "message");
	EXPECT(m->msr, SOME_MSR, "MSR in the message");
	EXPECT(m->header.access, INTERCEPT_READ, "access");
}

CASE("one", triple_fault, "a triple fault is an unrecoverable exception")
{
	struct child c = new_child(0, child_triple);

	EXPECT(run_child(&c, 0)->type, MSG_UNRECOVERABLE_EXCEPTION, "message");
}

CASE("one", invalid_state, "registers that no processor can run with are a message, not a run")
{
	static const struct { u32 name; u64 bad, good; } state[] = {
		{ REG_CR0, CR0_PE | CR0_ET | 1ul << 40, CR0_PE | CR0_ET | CR0_NE }, { REG_CR4, 1ul << 30, 0 },
		{ REG_CR3, ~0ul, 0 }, { REG_EFER, 1ul << 20, 0 }, { REG_DR7, 1ul << 40, 0x400 },
		{ REG_CR0, CR0_PG | CR0_ET, CR0_PE | CR0_ET | CR0_NE },
	};
	struct child c = new_child(0, child_halt);

	for (u32 i = 0; i < LENGTH(state); i++) {
		EXPECT(set_register(c.id, 0, state[i].name, state[i].bad), ST_OK, "set a bad value");
		EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_INVALID_VP_REGISTER_VALUE, "message");
		EXPECT(register_of(c.id, 0, state[i].name), state[i].bad, "the register");
		EXPECT(register_of(c.id, 0, REG_RIP), CODE_GFN * PAGE, "rip");
		EXPECT(set_register(c.id, 0, state[i].name, state[i].good), ST_OK, "set a good value");
	}
	/* an event of a type that does not exist */
	EXPECT(set_register(c.id, 0, REG_PENDING_INTERRUPTION, 1 | 1 << 1 | (u64)VECTOR << 16), ST_OK, "set an event");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_INVALID_VP_REGISTER_VALUE, "message");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_HALT, "message when all is well again");
}

CASE("one", half_long_mode, "a child with EFER.LME and no paging leaves the hypervisor in its own mode")
{
	struct child c = new_child(0, child_in);

	EXPECT(set_register2(c.id, 0, REG_ES + 1, 0, SEGMENT_REAL_CODE), ST_OK, "set cs");
	EXPECT(set_register(c.id, 0, REG_CR0, CR0_ET), ST_OK, "set cr0");
	EXPECT(set_register(c.id, 0, REG_EFER, EFER_LME), ST_OK, "set efer");
	for (u32 i = 0; i < 3; i++) {
		EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_IO_PORT, "message");
		EXPECT(register_of(c.id, 0, REG_EFER), EFER_LME, "efer");
		EXPECT(register_of(c.id, 0, REG_CR0) & (CR0_PE | CR0_PG), 0, "cr0");
	}
}

CASE("one", gpa_message, "the message of a memory intercept carries the instruction")
{
	struct child c = new_child(0, child_read);
	struct wire_memory_message *m = (void *)c.message->payload;

	EXPECT(set_register(c.id, 0, REG_RBX, 0x12345678), ST_OK, "set rbx");
	EXPECT(run_child(&c, 0)->type, MSG_UNMAPPED_GPA, "message");
	EXPECT(m->gpa, 0x12345678, "address");
	EXPECT(m->access_info, MEMORY_GVA_VALID | MEMORY_GVA_GPA_VALID, "what is known of the virtual address");
	EXPECT(m->gva, 0x12345678, "virtual address without paging");
	CHECK(m->byte_count >= 2, "no instruction bytes");
	EXPECT(memcmp(m->bytes, child_read, m->byte_count), 0, "instruction bytes");
}

CASE("one", walk_message, "a fault in the child's own tables is told from one of the access itself")
{
	struct child c = new_child(0, child_read);
	struct wire_memory_message *m = (void *)c.message->payload;
	u32 *directory = page_at(page_take()), *table = page_at(page_take());
	u64 index = GVA_32 >> 12 & 1023;

	directory[0] = PTE_P | PTE_W | PTE_PS;
	directory[GVA_32 >> 22] = MISSING_GFN * PAGE | PTE_P | PTE_W;
	table[index] = OTHER_GFN * PAGE | PTE_P | PTE_W;
	EXPECT(map_page(c.id, TABLE_GFN, MAP_RW, (u64)directory / PAGE), ST_OK, "map the directory");
	EXPECT(set_register(c.id, 0, REG_CR3, TABLE_GFN * PAGE), ST_OK, "set cr3");
	EXPECT(set_register(c.id, 0, REG_CR4, CR4_PSE), ST_OK, "set cr4");
	EXPECT(set_register(c.id, 0, REG_CR0, CR0_PG | CR0_PE | CR0_ET | CR0_NE), ST_OK, "set cr0");
	EXPECT(set_register(c.id, 0, REG_RBX, GVA_32), ST_OK, "set rbx");
	EXPECT(run_child(&c, 0)->type, MSG_UNMAPPED_GPA, "message");
	EXPECT(m->gpa, MISSING_GFN * PAGE + index * 4, "address of the entry");
	EXPECT(m->access_info, MEMORY_GVA_VALID, "what is known of the virtual address");
	EXPECT(m->gva, GVA_32, "virtual address");
	EXPECT(map_page(c.id, MISSING_GFN, MAP_RW, (u64)table / PAGE), ST_OK, "map the table");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_UNMAPPED_GPA, "message");
	EXPECT(m->gpa, OTHER_GFN * PAGE + PAGE_OFFSET(GVA_32), "address of the access");
	EXPECT(m->access_info, MEMORY_GVA_VALID | MEMORY_GVA_GPA_VALID, "what is known of the virtual address");
	EXPECT(m->gva, GVA_32, "virtual address");
}

/* ---- interrupts into a child with a local APIC ---- */
static u16 assert_interrupt(u64 id, u32 type, u64 destination, u32 vector, u32 control)
{
	struct in_assert_interrupt *in = call_in();

	in->partition = id;
	in->type = type;
	in->destination = destination;
	in->vector = vector;
	in->control = control;
	return call(HC_ASSERT_VIRTUAL_INTERRUPT);
}

static void blocks(u64 id, u32 vp, const char *what)
{
	struct out_dispatch out;

	for (u32 i = 0; i < 100; i++) {
		EXPECT(dispatch_once(id, vp, 0, &out), ST_OK, "DISPATCH_VP");
		if (out.event == DISPATCH_EVENT_INTERCEPT)
			FAIL("%s: the VP ran into message %#x", what, message_page(id, vp)->type);
		if (out.state == DISPATCH_STATE_BLOCKED)
			return;
		interrupts_on();
		interrupts_off();
	}
	FAIL("%s: the VP does not block", what);
}

CASE("one", sipi, "an AP waits for SIPI, starts at its vector, and INIT stops it again")
{
	struct child c = new_child(CREATE_LAPIC, child_triple);
	struct message *m;
	struct wire_value cs;

	*(u16 *)page_at(c.code) = 0x10e4;	/* in $0x10, %al */
	EXPECT(create_vp(c.id, 1), ST_OK, "CREATE_VP");
	m = message_page(c.id, 1);
	EXPECT(set_register(c.id, 1, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
	blocks(c.id, 1, "before INIT");
	EXPECT(assert_interrupt(c.id, IPI_INIT, 1, 0, ASSERT_LEVEL), ST_OK, "INIT");
	blocks(c.id, 1, "after INIT");
	EXPECT(assert_interrupt(c.id, IPI_SIPI, 1, SIPI_VECTOR, 0), ST_OK, "SIPI");
	CHECK(run_vp(c.id, 1, m, 0), "the VP does not run after SIPI");
	EXPECT(m->type, MSG_IO_PORT, "message");
	EXPECT(((struct wire_intercept *)m->payload)->cs.base, SIPI_VECTOR * PAGE, "base of cs");
	EXPECT(assert_interrupt(c.id, IPI_INIT, 1, 0, ASSERT_LEVEL), ST_OK, "second INIT");
	EXPECT(set_register(c.id, 1, REG_INTERCEPT_SUSPEND, 0), ST_OK, "clear the intercept");
	blocks(c.id, 1, "after the second INIT");
	EXPECT(assert_interrupt(c.id, IPI_SIPI, 1, SIPI_VECTOR, 0), ST_OK, "second SIPI");
	CHECK(run_vp(c.id, 1, m, 0), "the VP does not run after the second SIPI");
	EXPECT(get_register(c.id, 1, REG_ES + 1, &cs), ST_OK, "get cs");
	EXPECT(cs.low, SIPI_VECTOR * PAGE, "base of cs");
}

/* IDT, GDT-less: one 32-bit gate in the data page for a vector, to a handler in the code page. */
static void gate_for(const struct child *c, u32 vector, const u8 *code, const u8 *to)
{
	u64 handler = CODE_GFN * PAGE + (to - code);
	volatile u32 *gate = data_of(c, 256 + vector * 2);

	gate[0] = handler | 8 << 16;
	gate[1] = GATE_32;
}

static void idt_for(const struct child *c, const u8 *code, const u8 *to)
{
	volatile u64 *gdt = (volatile u64 *)data_of(c, 128);

	gdt[1] = 0x00cf9b000000fffful;
	gdt[2] = 0x00cf93000000fffful;
	gate_for(c, VECTOR, code, to);
	EXPECT(set_register2(c->id, 0, REG_GDTR, 0xfffful << 48, DATA_GFN * PAGE + 512), ST_OK, "set gdtr");
	EXPECT(set_register2(c->id, 0, REG_IDTR, 0xfffful << 48, DATA_GFN * PAGE + 1024), ST_OK, "set idtr");
	EXPECT(set_register(c->id, 0, REG_RSP, (DATA_GFN + 1) * PAGE), ST_OK, "set rsp");
}

CASE("one", pending_interruption, "an interruption that the root sets is delivered at the next run")
{
	struct child c = new_child(0, child_interrupt);

	idt_for(&c, child_interrupt, child_handler);
	EXPECT(set_register(c.id, 0, REG_PENDING_INTERRUPTION, 1 | (u64)VECTOR << 16), ST_OK, "set it");
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "message");
	EXPECT(*data_of(&c, 1), 1, "times the handler ran");
	EXPECT(register_of(c.id, 0, REG_PENDING_INTERRUPTION) & 1, 0, "still pending");
}

CASE("one", interrupt_shadow, "an interrupt that comes between STI and HLT ends the HLT")
{
	struct child c = new_child(CREATE_LAPIC, child_doze);

	idt_for(&c, child_doze, child_doze_handler);
	EXPECT(set_register(c.id, 0, REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF), ST_OK, "set rflags");
	EXPECT(set_register(c.id, 0, REG_INTERRUPT_STATE, SHADOW), ST_OK, "set the shadow");
	EXPECT(assert_interrupt(c.id, IPI_EXTINT, 0, VECTOR, 0), ST_OK, "the interrupt");
	EXPECT(run_child(&c, 0)->type, MSG_IO_PORT, "message");
	EXPECT(*data_of(&c, 1), 1, "times the handler ran");
}

CASE("one", wrong_interrupt, "an interrupt for nobody, or for the root, is not delivered")
{
	struct child c = new_child(CREATE_LAPIC, child_interrupt);

	EXPECT(assert_interrupt(c.id + 100, IPI_FIXED, 0, VECTOR, 0), ST_INVALID_PARTITION_ID, "unknown partition");
	CHECK(assert_interrupt(1, IPI_FIXED, 0, VECTOR, 0) != ST_OK, "an interrupt into the root was taken");
}

/* ---- interrupts in the register page ---- */
#define PAGE_LIST(count, first, second) ((count) | (u64)(first) << 8 | (u64)(second) << 16)

/* A VP that halts with its local APIC on, and takes two vectors. */
static struct child takes(void)
{
	struct child c = new_child(CREATE_LAPIC, child_takes);

	idt_for(&c, child_takes, child_takes_first);
	gate_for(&c, OTHER_VECTOR, child_takes, child_takes_second);
	blocks(c.id, 0, "before an interrupt");
	return c;
}

/* Dispatched once with the flag: then it blocks again, and has counted so many of each vector in all. */
static void scan(const struct child *c, u32 first, u32 second)
{
	struct out_dispatch out;

	EXPECT(dispatch_once(c->id, 0, DISPATCH_SCAN_VECTORS, &out), ST_OK, "DISPATCH_VP");
	blocks(c->id, 0, "after the interrupts");
	EXPECT(*data_of(c, 1), first, "interrupts of the first vector");
	EXPECT(*data_of(c, 2), second, "interrupts of the second vector");
}

CASE("one", page_vectors, "vectors in the register page are raised once, when the dispatch says so")
{
	struct child c = takes();
	volatile u64 *list = &register_page(c.id, 0)->vectors;

	*list = PAGE_LIST(2, VECTOR, OTHER_VECTOR);
	blocks(c.id, 0, "without the flag");
	EXPECT(*data_of(&c, 1) + *data_of(&c, 2), 0, "interrupts without the flag");
	EXPECT(*list, PAGE_LIST(2, VECTOR, OTHER_VECTOR), "the page without the flag");
	scan(&c, 1, 1);
	EXPECT(*list, 0, "the page afterwards");
	scan(&c, 1, 1);
	*list = PAGE_LIST(1, OTHER_VECTOR, VECTOR);	/* the second lies behind the count */
	scan(&c, 1, 2);
	EXPECT(*list, 0, "the page afterwards");
}

CASE("one", bad_page_vectors, "nothing in the register page's list of vectors is trusted")
{
	struct child c = takes();
	volatile u64 *list = &register_page(c.id, 0)->vectors;

	*list = PAGE_LIST(2, TOO_LOW, 0);
	scan(&c, 0, 0);
	*list = PAGE_LIST(0, VECTOR, OTHER_VECTOR);
	scan(&c, 0, 0);
	EXPECT(*list, 0, "a list without a count");
	*list = PAGE_LIST(0xff, VECTOR, VECTOR);	/* one that is raised twice comes once */
	scan(&c, 1, 0);
	EXPECT(*list, 0, "a list that is too long");
}

CASE("one", page_vectors_suspended, "a VP that must not run leaves its list alone")
{
	struct child c = takes();
	volatile u64 *list = &register_page(c.id, 0)->vectors;
	struct out_dispatch out;

	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, EXPLICITLY_SUSPENDED), ST_OK, "suspend");
	*list = PAGE_LIST(1, VECTOR, 0);
	EXPECT(dispatch_once(c.id, 0, DISPATCH_SCAN_VECTORS, &out), ST_OK, "DISPATCH_VP");
	EXPECT(out.event, DISPATCH_EVENT_SUSPEND, "event");
	EXPECT(*list, PAGE_LIST(1, VECTOR, 0), "the page");
	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
	synic_off(SINT_INTERCEPT);
	scan(&c, 1, 0);
}

/* ---- translation ---- */
static u32 translate(u64 id, u64 gva, u64 *gfn)
{
	struct in_translate *in = call_in();
	struct out_translate *out = call_out();

	in->partition = id;
	in->gva_page = gva / PAGE;
	EXPECT(call(HC_TRANSLATE_VIRTUAL_ADDRESS), ST_OK, "TRANSLATE_VIRTUAL_ADDRESS");
	*gfn = out->gpa_page;
	return out->result;
}

CASE("one", translate_gva, "a virtual address of the child is translated by the child's own tables")
{
	struct child c = new_child(0, child_halt);
	u64 gfn, gva = GVA;

	EXPECT(translate(c.id, DATA_GFN * PAGE, &gfn), 0, "result without paging");
	EXPECT(gfn, DATA_GFN, "frame without paging");
	for (u64 level = 4; level; level--) {
		u64 page = page_take(), *table = page_at(page);

		EXPECT(map_page(c.id, TABLE_GFN + 4 - level, MAP_RW, page), ST_OK, "map a table");
		table[gva >> (12 + 9 * (level - 1)) & (PTES - 1)] =
			(level > 1 ? TABLE_GFN + 5 - level : DATA_GFN) * PAGE | PTE_P | PTE_W;
	}
	EXPECT(set_register(c.id, 0, REG_CR3, TABLE_GFN * PAGE), ST_OK, "set cr3");
	EXPECT(set_register(c.id, 0, REG_CR4, CR4_PAE), ST_OK, "set cr4");
	EXPECT(set_register(c.id, 0, REG_EFER, EFER_LME | EFER_LMA), ST_OK, "set efer");
	EXPECT(set_register(c.id, 0, REG_CR0, CR0_PG | CR0_PE | CR0_ET | CR0_NE), ST_OK, "set cr0");
	EXPECT(translate(c.id, gva, &gfn), 0, "result");
	EXPECT(gfn, DATA_GFN, "frame");
	CHECK(translate(c.id, gva + PAGE, &gfn) != 0, "an address that is not mapped was translated");
}
