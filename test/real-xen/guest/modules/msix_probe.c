// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A driver of msix-probe (docs/devices/msix-probe.md) for tests: takes all its messages, and counts those that come.
 *
 *     cat /proc/msix_probe    "device asked N sent N ...", what the device counted; then for each message
 *                             "vector N irq N count N"
 *     echo fire N             ask the device for message N
 *     echo wait N COUNT       until message N has come so often; ETIMEDOUT after ten seconds
 *     echo disable N          disable_irq, and enable N
 *     echo hold               set the function mask of MSI-X, and release
 *
 * Module parameter msi=1: one message by MSI instead of all by MSI-X. One device only.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define NAME "msix_probe"
#define WAIT_MS 10000
#define MOST_BYTES 64

/* Registers in BAR 0. */
enum { VECTORS = 0x00, FIRE = 0x08, ASKED = 0x10, SENT = 0x14, WAITED = 0x18, LATE = 0x1c, MERGED = 0x20, LOST = 0x24 };

struct message {
	char name[24];
	atomic_t count;
};

static struct {
	struct pci_dev *device;
	void __iomem *registers;
	struct message *messages;
	int count;
	wait_queue_head_t arrived;
} probe;

static bool msi;
module_param(msi, bool, 0444);

static irqreturn_t take(int irq, void *context)
{
	struct message *message = context;

	atomic_inc(&message->count);
	wake_up_all(&probe.arrived);
	return IRQ_HANDLED;
}

/* ---- /proc/msix_probe ---- */

static int show(struct seq_file *out, void *unused)
{
	void __iomem *at = probe.registers;
	int i;

	seq_printf(out, "device asked %u sent %u waited %u late %u merged %u lost %u\n", readl(at + ASKED), readl(at + SENT),
		   readl(at + WAITED), readl(at + LATE), readl(at + MERGED), readl(at + LOST));
	for (i = 0; i < probe.count; i++)
		seq_printf(out, "vector %d irq %d count %d\n", i, pci_irq_vector(probe.device, i),
			   atomic_read(&probe.messages[i].count));
	return 0;
}

static int open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static int set_function_mask(bool set)
{
	u16 control;

	if (msi)
		return -EINVAL;
	pci_read_config_word(probe.device, probe.device->msix_cap + PCI_MSIX_FLAGS, &control);
	control = set ? control | PCI_MSIX_FLAGS_MASKALL : control & ~PCI_MSIX_FLAGS_MASKALL;
	pci_write_config_word(probe.device, probe.device->msix_cap + PCI_MSIX_FLAGS, control);
	return 0;
}

static int wait_for(struct message *message, int count)
{
	long left = wait_event_interruptible_timeout(probe.arrived, atomic_read(&message->count) >= count,
						     msecs_to_jiffies(WAIT_MS));

	return left < 0 ? left : left ? 0 : -ETIMEDOUT;
}

static int run(const char *line)
{
	char word[16];
	int vector = 0, count = 0, words = sscanf(line, "%15s %d %d", word, &vector, &count);

	if (words < 1 || vector < 0 || vector >= probe.count)
		return -EINVAL;
	if (!strcmp(word, "hold") || !strcmp(word, "release"))
		return set_function_mask(!strcmp(word, "hold"));
	if (words < 2)
		return -EINVAL;
	if (!strcmp(word, "fire"))
		writel(vector, probe.registers + FIRE);
	else if (!strcmp(word, "disable"))
		disable_irq(pci_irq_vector(probe.device, vector));
	else if (!strcmp(word, "enable"))
		enable_irq(pci_irq_vector(probe.device, vector));
	else if (!strcmp(word, "wait") && words == 3)
		return wait_for(&probe.messages[vector], count);
	else
		return -EINVAL;
	return 0;
}

static ssize_t write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char *line;
	int error;

	if (length > MOST_BYTES)
		return -EINVAL;
	line = memdup_user_nul(from, length);
	if (IS_ERR(line))
		return PTR_ERR(line);
	error = run(line);
	kfree(line);
	return error ? error : length;
}

static const struct proc_ops operations = {
	.proc_open = open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = write,
};

/* ---- the device ---- */

static void free_messages(struct pci_dev *device, int count)
{
	while (count--)
		free_irq(pci_irq_vector(device, count), &probe.messages[count]);
	pci_free_irq_vectors(device);
}

static int request_messages(struct pci_dev *device)
{
	int wanted = msi ? 1 : readl(probe.registers + VECTORS);
	int i, error, given = pci_alloc_irq_vectors(device, wanted, wanted, msi ? PCI_IRQ_MSI : PCI_IRQ_MSIX);

	if (given < 0)
		return given;
	probe.messages = devm_kcalloc(&device->dev, given, sizeof(*probe.messages), GFP_KERNEL);
	if (!probe.messages) {
		pci_free_irq_vectors(device);
		return -ENOMEM;
	}
	for (i = 0; i < given; i++) {
		int irq = pci_irq_vector(device, i);

		snprintf(probe.messages[i].name, sizeof(probe.messages[i].name), "msix-probe-%d", i);
		error = request_irq(irq, take, 0, probe.messages[i].name, &probe.messages[i]);
		if (error) {
			free_messages(device, i);
			return error;
		}
		/* Without this, disable_irq only takes note, and the first message still comes. */
		irq_set_status_flags(irq, IRQ_DISABLE_UNLAZY);
	}
	probe.count = given;
	return 0;
}

static int attach(struct pci_dev *device, const struct pci_device_id *id)
{
	int error;

	if (probe.device)
		return -EBUSY;
	error = pcim_enable_device(device);
	if (!error)
		error = pcim_iomap_regions(device, BIT(0), NAME);
	if (error)
		return error;
	probe.registers = pcim_iomap_table(device)[0];
	pci_set_master(device);
	error = request_messages(device);
	if (error)
		return error;
	probe.device = device;
	if (!proc_create(NAME, 0600, NULL, &operations)) {
		probe.device = NULL;
		free_messages(device, probe.count);
		return -ENOMEM;
	}
	return 0;
}

static void detach(struct pci_dev *device)
{
	remove_proc_entry(NAME, NULL);
	free_messages(device, probe.count);
	probe.device = NULL;
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, 0x3517) }, {} };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver driver = { .name = NAME, .id_table = ids, .probe = attach, .remove = detach };

static int __init start(void)
{
	init_waitqueue_head(&probe.arrived);
	return pci_register_driver(&driver);
}

static void __exit stop(void)
{
	pci_unregister_driver(&driver);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("counts the interrupts of msix-probe");
MODULE_LICENSE("Dual MIT/GPL");
