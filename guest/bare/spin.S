/* spin: says "spinning" and loops for ever with interrupts off. */
#include "say.inc"
	.text
	.globl start
start:
	cli
	SAY hello
3:	jmp 3b
hello:	.asciz "spinning\n"
