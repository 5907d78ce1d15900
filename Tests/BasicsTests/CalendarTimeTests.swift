import Basics
import Testing

@Suite("Calendar time")
struct CalendarTimeTests {
    @Test(
        "Known moments",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z"), (1_792_575_845, "2026-10-21T09:44:05Z"),
            (-1, "1969-12-31T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] as [(Int64, String)])
    func known(seconds: Int64, text: String) {
        let time = Timestamp(seconds: seconds)
        #expect(CalendarTime(time).text == text)
        #expect(CalendarTime.parse(rfc3339: text) == time)
    }

    @Test("HTTP dates, offsets and fractions")
    func parsing() {
        #expect(CalendarTime.parse(httpDate: "Sun, 06 Nov 1994 08:49:37 GMT") == Timestamp(seconds: 784_111_777))
        #expect(CalendarTime.parse(httpDate: "yesterday") == nil)
        #expect(CalendarTime.parse(rfc3339: "2026-10-21T11:44:05.5+02:00")?.nanoseconds == 1_792_575_845_500_000_000)
        #expect(CalendarTime.parse(rfc3339: "2026-13-21T11:44:05Z") == nil)
        #expect(CalendarTime.parse(rfc3339: "2026-10-21T11:44:05") == nil)
    }
}
