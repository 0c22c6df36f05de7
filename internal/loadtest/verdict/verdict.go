// Package verdict says what the results of load tests mean: whether one meets its thresholds, whether one is slower than
// another, and up to which rate of calls thresholds are met.
//
//	measure.Result ─Judge→ Verdict       p99(admin.vm.List) < 5ms
//	report.Document ─SampleOf→ Sample    a run that was written, to be compared
//	Samples A, B ─Compare→ Comparison    is B slower than A, or is it chance?
//	probe(rate) ─Search→ Capacity        the highest rate that holds
//
// It makes no calls and reads no files.
package verdict
