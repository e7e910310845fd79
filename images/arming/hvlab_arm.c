// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Trips a detector of the kernel that it is loaded into: write the name of a trip to hvlab-arm/trip in debugfs.
 * It is loaded only into guests that are thrown away. What LKDTM can trip is left to LKDTM.
 *
 * On a kernel without the detector a trip does no harm, or as little as it can: the lab then sees that nothing was
 * reported. Every trip runs in a function of its own that is not inlined, so that reports name it.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define NAME_ROOM 32
#define LEAKED_OBJECTS 200
#define LEAKED_BYTES 200
#define TIMER_SECONDS 600
#define RACE_SECONDS 8
#define RACERS 2
#define SHIFT_TOO_FAR 40
#define VMALLOC_BYTES 2000

static DEFINE_MUTEX(arm_first);
static DEFINE_MUTEX(arm_second);
static DEFINE_RAW_SPINLOCK(arm_raw);
static DEFINE_SPINLOCK(arm_spin);

/* Two locks in both orders. Nobody blocks: the first order is known to lockdep when the second one is taken. */
static noinline void hvlab_arm_lockdep(void)
{
	mutex_lock(&arm_first);
	mutex_lock(&arm_second);
	mutex_unlock(&arm_second);
	mutex_unlock(&arm_first);

	mutex_lock(&arm_second);
	mutex_lock(&arm_first);
	mutex_unlock(&arm_first);
	mutex_unlock(&arm_second);
}

/* With PREEMPT_RT a spinlock_t sleeps, which nobody may who holds a raw one: wrong by rule, harmless here. */
static noinline void hvlab_arm_wait_context(void)
{
	raw_spin_lock(&arm_raw);
	spin_lock(&arm_spin);
	spin_unlock(&arm_spin);
	raw_spin_unlock(&arm_raw);
}

/* What every function that may sleep says first, while sleeping is forbidden. It does not sleep, so all goes on. */
static noinline void hvlab_arm_atomic_sleep(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

static int __rcu *arm_pointer;

/* A pointer under RCU is read outside every read-side section. */
static noinline void hvlab_arm_rcu(void)
{
	int *p = rcu_dereference(arm_pointer);

	if (p)
		pr_info("there is a number %d\n", *p);
}

struct arm_timed {
	struct timer_list timer;
	char rest[LEAKED_BYTES];
};

static void arm_timer(struct timer_list *timer)
{
}

/*
 * Memory is freed with a pending timer in it. The kernel with the detector takes the timer out; without it the timer
 * would run in freed memory, so there it is taken out first, which leaves nothing to report.
 */
static noinline void hvlab_arm_debug_objects(void)
{
	struct arm_timed *timed = kzalloc(sizeof(*timed), GFP_KERNEL);

	if (!timed)
		return;
	timer_setup(&timed->timer, arm_timer, 0);
	mod_timer(&timed->timer, jiffies + TIMER_SECONDS * HZ);
	if (!IS_ENABLED(CONFIG_DEBUG_OBJECTS_FREE) || !IS_ENABLED(CONFIG_DEBUG_OBJECTS_TIMERS))
		timer_delete_sync(&timed->timer);
	kfree(timed);
}

/*
 * The only pointers to some objects go out of scope. Many, as the allocator remembers what it has given away: a sheaf of
 * SLUB keeps the pointers to the objects that were taken from it until others are put there, kmemleak scans sheaves like
 * any memory, and so takes the last ones for referenced. They are zeroed, so that nothing in them leads to one another.
 */
static noinline void hvlab_arm_kmemleak(void)
{
	for (int i = 0; i < LEAKED_OBJECTS; i++) {
		void *p = kzalloc(LEAKED_BYTES, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

/* Interrupts are switched on behind the back of somebody who restores them later. */
static noinline void hvlab_arm_irq_state(void)
{
	unsigned long flags;

	local_irq_save(flags);
	local_irq_enable();
	local_irq_restore(flags);
}

static volatile unsigned int arm_shift = SHIFT_TOO_FAR;
static volatile unsigned int arm_number = 1;

/* An int shifted further than it has bits. The compiler must not know by how much. */
static noinline void hvlab_arm_ubsan_shift(void)
{
	unsigned int far = arm_shift;

	arm_number = arm_number << far;
}

/*
 * Memory of vmalloc() is read past what was asked for, still within its page, so that nothing faults. LKDTM's overflow
 * is a memset() that was not checked on our kernels: it ran into the guard page, and the report was an oops.
 */
static noinline void hvlab_arm_kasan_vmalloc(void)
{
	volatile char *p = vmalloc(VMALLOC_BYTES);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	(void)p[VMALLOC_BYTES];
	vfree((void *)p);
}

static unsigned long arm_raced;
static unsigned long arm_race_end;

static noinline int hvlab_arm_race(void *unused)
{
	while (!kthread_should_stop() && time_before(jiffies, arm_race_end)) {
		for (int i = 0; i < 1000; i++) {
			arm_raced++;
			barrier();
		}
		cond_resched();
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* Two threads add to one plain variable; KCSAN stalls one of them on it now and then and sees the other come by. */
static noinline void hvlab_arm_kcsan(void)
{
	struct task_struct *racer[RACERS];

	arm_race_end = jiffies + RACE_SECONDS * HZ;
	for (int i = 0; i < RACERS; i++)
		racer[i] = kthread_run(hvlab_arm_race, NULL, "hvlab_race/%d", i);
	while (time_before(jiffies, arm_race_end))
		schedule_timeout_interruptible(1);
	for (int i = 0; i < RACERS; i++)
		if (!IS_ERR(racer[i]))
			kthread_stop(racer[i]);
}

static const struct {
	const char *name;
	void (*go)(void);
} arm_trips[] = {
	{ "lockdep", hvlab_arm_lockdep },
	{ "wait-context", hvlab_arm_wait_context },
	{ "atomic-sleep", hvlab_arm_atomic_sleep },
	{ "rcu", hvlab_arm_rcu },
	{ "debug-objects", hvlab_arm_debug_objects },
	{ "kmemleak", hvlab_arm_kmemleak },
	{ "irq-state", hvlab_arm_irq_state },
	{ "kasan-vmalloc", hvlab_arm_kasan_vmalloc },
	{ "ubsan-shift", hvlab_arm_ubsan_shift },
	{ "kcsan", hvlab_arm_kcsan },
};

static ssize_t arm_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	char name[NAME_ROOM];

	if (count >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, from, count))
		return -EFAULT;
	name[count] = '\0';
	strim(name);
	for (size_t i = 0; i < ARRAY_SIZE(arm_trips); i++)
		if (!strcmp(name, arm_trips[i].name)) {
			arm_trips[i].go();
			return count;
		}
	return -EINVAL;
}

static const struct file_operations arm_files = {
	.owner = THIS_MODULE,
	.write = arm_write,
};

static struct dentry *arm_folder;

static int __init arm_init(void)
{
	arm_folder = debugfs_create_dir("hvlab-arm", NULL);
	debugfs_create_file("trip", 0200, arm_folder, NULL, &arm_files);
	return PTR_ERR_OR_ZERO(arm_folder);
}

static void __exit arm_exit(void)
{
	debugfs_remove_recursive(arm_folder);
}

module_init(arm_init);
module_exit(arm_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Trips the detectors of a kernel under test on purpose");
