/// What a model server tells of itself in Prometheus' text format (version 0.0.4).
enum ServerMetrics {
    /// How many requests are being answered or wait: of vLLM (0.4 to 0.11) and of SGLang (0.4 and later).
    private static let requests: Set = [
        "vllm:num_requests_running", "vllm:num_requests_waiting", "sglang:num_running_reqs", "sglang:num_queue_reqs",
    ]
    /// Requests at the most, so that sums stay whole.
    private static let most = 1e15

    /// The requests under way, of all engines and models of the server; nil when it tells of none of these metrics.
    static func requestsUnderWay(in text: [UInt8]) -> Int64? {
        var sum: Double?
        for line in text.split(separator: UInt8(ascii: "\n")) {
            guard let end = line.firstIndex(where: { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: " ") }),
                requests.contains(String(decoding: line[..<end], as: UTF8.self))
            else { continue }
            // Labels may hold anything in quotes; after them come the value and perhaps a time.
            let start = line.lastIndex(of: UInt8(ascii: "}")).map { $0 + 1 } ?? end
            guard let word = line[start...].split(separator: UInt8(ascii: " ")).first,
                let value = Double(String(decoding: word, as: UTF8.self)), value.isFinite
            else { continue }
            sum = min((sum ?? 0) + max(0, value), most)
        }
        return sum.map { Int64($0.rounded(.up)) }
    }
}
