package virtiotest

import (
	"math"

	"github.com/stretchr/testify/require"
)

// setupRows are A9 and A10: where rings are and how big.
func setupRows() []row {
	move := func(name string, change func(r *Raw)) row {
		return row{"A9 " + name, func(a *attack) {
			a.prepare()
			change(a.r)
			a.d.Place(a.r)
			a.d.AddStatus(StatusDriverOK)
			a.d.WaitNeedsReset()
		}}
	}
	size := func(name string, n func(limit uint32) uint32) row {
		return row{"A10 " + name, func(a *attack) {
			a.prepare()
			a.d.Place(a.r)
			a.d.SetReg(RegQueueReady, 0)
			a.d.SetReg(RegQueueNum, n(a.d.Reg(RegQueueNumMax)))
			a.d.SetReg(RegQueueReady, 1)
			ready := a.d.Reg(RegQueueReady) != 0
			a.d.AddStatus(StatusDriverOK)
			if ready {
				a.d.WaitNeedsReset()
			}
		}}
	}
	return append([]row{
		move("descriptor table misaligned", func(r *Raw) { r.Desc += 8 }),
		move("available ring misaligned", func(r *Raw) { r.Avail++ }),
		move("used ring misaligned", func(r *Raw) { r.Used += 2 }),
		move("descriptor table in the device window", func(r *Raw) { r.Desc = Hole }),
		move("available ring above RAM", func(r *Raw) { r.Avail = High.End() }),
		move("used ring in the device window", func(r *Raw) { r.Used = Hole }),
		move("descriptor table ends behind RAM", func(r *Raw) { r.Desc = High.End() - 16 }),
		move("available ring ends behind RAM", func(r *Raw) { r.Avail = High.End() - 2 }),
		move("used ring in two regions", func(r *Raw) { r.Used = Main.End() - 4 }),
		move("descriptor table wraps around", func(r *Raw) { r.Desc = math.MaxUint64 &^ 15 }),
		move("used ring wraps around", func(r *Raw) { r.Used = math.MaxUint64 &^ 3 }),
		move("all rings at one place", func(r *Raw) { r.Avail, r.Used = r.Desc, r.Desc }),
		move("used ring on the last descriptor", func(r *Raw) { r.Used = r.Desc + descSize*uint64(r.Size) - 4 }),
		size("size 0", func(uint32) uint32 { return 0 }),
		size("size 3", func(uint32) uint32 { return 3 }),
		size("size above the device's", func(limit uint32) uint32 { return 2 * limit }),
		size("size good in its low 16 bits", func(limit uint32) uint32 { return 0x10000 | limit }),
		size("size 0xFFFFFFFF", func(uint32) uint32 { return math.MaxUint32 }),
	}, changeRows()...)
}

// prepare initialises the device up to the queue under attack, which is selected, has a ring, and is not ready. Other queues
// are.
func (a *attack) prepare() {
	a.t.Helper()
	a.d.Negotiate(0)
	for i := uint32(0); ; i++ {
		a.d.SetReg(RegQueueSel, i)
		limit := a.d.Reg(RegQueueNumMax)
		if limit == 0 {
			break
		}
		if i != uint32(a.s.Queue) {
			a.d.SetupQueue(int(i), uint16(limit))
			continue
		}
		a.r = NewRaw(a.t, a.d.Mem(), a.d.Alloc(max(RawSize(uint16(limit)), arenaAlign)), uint16(limit))
	}
	require.NotNil(a.t, a.r, "the device has no queue %d", a.s.Queue)
	a.d.SetReg(RegQueueSel, uint32(a.s.Queue))
}

// changeRows are A10 rows about a device that runs.
func changeRows() []row {
	return []row{
		{"A10 size and addresses change while the device runs", func(a *attack) {
			a.start(0)
			a.d.SetReg(RegQueueSel, uint32(a.s.Queue))
			a.d.SetReg(RegQueueNum, 1)
			for _, reg := range []uint64{RegQueueDesc, RegQueueDriver, RegQueueDevice} {
				a.d.setReg64(reg, Hole)
			}
			a.d.SetReg(RegQueueReady, 1)
			a.works()
		}},
		{"A10 QueueReady toggles while kicks are in flight", func(a *attack) {
			a.start(0)
			a.expose(a.request(0, a.d.Alloc)...)
			a.d.SetReg(RegQueueSel, uint32(a.s.Queue))
			for i := range uint32(100) {
				a.kick()
				a.d.SetReg(RegQueueReady, i%2)
			}
		}},
		{"A10 QueueSel beyond the last queue", func(a *attack) {
			a.start(0)
			for _, sel := range []uint32{64, 0x10000, math.MaxUint32} {
				a.d.SetReg(RegQueueSel, sel)
				require.Zero(a.t, a.d.Reg(RegQueueNumMax))
				require.Zero(a.t, a.d.Reg(RegQueueReady))
				a.d.SetReg(RegQueueNum, 4)
				a.d.SetReg(RegQueueReady, 1)
			}
			a.works()
		}},
	}
}

// statusRows are A11: the status field and features.
func statusRows() []row {
	const driver = StatusAcknowledge | StatusDriver
	return []row{
		{"A11 DRIVER_OK without FEATURES_OK", func(a *attack) {
			a.d.Reset()
			a.d.AddStatus(StatusAcknowledge)
			a.d.AddStatus(StatusDriver)
			a.d.AddStatus(StatusDriverOK)
			a.notRunning()
		}},
		{"A11 DRIVER_OK and nothing else", func(a *attack) {
			a.d.Reset()
			a.d.SetReg(RegStatus, StatusDriverOK)
			a.notRunning()
		}},
		{"A11 features that were not offered", func(a *attack) {
			a.d.Reset()
			a.d.AddStatus(StatusAcknowledge)
			a.d.AddStatus(StatusDriver)
			a.d.WriteFeatures(math.MaxUint64)
			a.d.AddStatus(StatusFeaturesOK)
			require.Zero(a.t, a.d.Status()&StatusFeaturesOK, "the device accepts features it does not have")
		}},
		{"A11 VERSION_1 refused by the driver", func(a *attack) {
			a.d.Reset()
			a.d.AddStatus(StatusAcknowledge)
			a.d.AddStatus(StatusDriver)
			a.d.WriteFeatures(0)
			a.d.AddStatus(StatusFeaturesOK)
			require.Zero(a.t, a.d.Status()&StatusFeaturesOK, "the device accepts a legacy driver")
		}},
		{"A11 features change after FEATURES_OK", func(a *attack) {
			a.start(0)
			a.d.WriteFeatures(math.MaxUint64)
			a.works()
		}},
		{"A11 status bits cleared", func(a *attack) {
			a.start(0)
			a.d.SetReg(RegStatus, driver)
			a.d.SetReg(RegStatus, StatusAcknowledge)
			require.NotZero(a.t, a.d.Status()&StatusDriver, "a status bit can be cleared without a reset")
		}},
		{"A11 DRIVER_OK twice", func(a *attack) {
			a.start(0)
			a.d.AddStatus(StatusDriverOK)
			a.works()
		}},
		{"A11 DRIVER_OK with no queue ready", func(a *attack) {
			a.d.Negotiate(0)
			a.d.AddStatus(StatusDriverOK)
			a.d.SetReg(RegQueueNotify, uint32(a.s.Queue))
			a.provoke()
		}},
		{"A11 status bits that do not exist", func(a *attack) {
			a.d.Reset()
			a.d.SetReg(RegStatus, math.MaxUint32)
			a.notRunning()
		}},
		{"A11 the driver gives up", func(a *attack) {
			a.start(0)
			a.d.AddStatus(StatusFailed)
			a.kick()
		}},
	}
}

// notRunning requires that the device did not take DRIVER_OK as the start of its life.
func (a *attack) notRunning() {
	a.t.Helper()
	s := a.d.Status()
	require.True(a.t, s&StatusDriverOK == 0 || s&(StatusNeedsReset|StatusFailed) != 0, "the device runs, status %#x", s)
	a.d.SetReg(RegQueueNotify, uint32(a.s.Queue))
	a.provoke()
}
