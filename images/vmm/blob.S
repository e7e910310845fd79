/* SPDX-License-Identifier: GPL-2.0-or-later */
	.section .rodata
	.globl	payload_image, payload_image_end
	.balign	16
payload_image:
	.incbin	"payload.bin"
payload_image_end:
	.section .note.GNU-stack, "", @progbits
