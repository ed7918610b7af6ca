/* triple: says "falling" and faults with an empty interrupt table, which ends
   in a triple fault. */
#include "say.inc"
	.text
	.globl start
start:
	cli
	SAY hello
	lidt empty(%rip)
	ud2
hello:	.asciz "falling\n"
	.balign 8
empty:	.word 0
	.quad 0
