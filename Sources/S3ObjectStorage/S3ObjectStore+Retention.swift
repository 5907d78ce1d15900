internal import Basics
internal import HTTPTransport
package import ObjectStorage

extension S3ObjectStore {
    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        try requireRetention(key, retention)
        var wanted = retention
        if let current = try await currentRetention(key) {
            // Only ever later and firmer: servers differ in what they allow the bucket's owner.
            if current.mode == .compliance { wanted.mode = .compliance }
            if current.until >= wanted.until, current.mode == wanted.mode { return }
            wanted.until = max(wanted.until, current.until)
        }
        var call = try objectCall("extend the retention of", .put, key)
        call.query = [("retention", "")]
        call.concernsRetention = true
        let text =
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>\(wanted.mode.rawValue.uppercased())</Mode>"
            + "<RetainUntilDate>\(wanted.untilText)</RetainUntilDate></Retention>"
        call.body = HTTPBody(Array(text.utf8))
        call.headers.append(("Content-Type", "application/xml"))
        _ = try await client.perform(await withChecksum(call, .md5))
    }

    /// The retention that an object is under; nil for none.
    package func currentRetention(_ key: String) async throws(ObjectStorageError) -> Retention? {
        var call = try objectCall("ask the retention of", .get, key)
        call.query = [("retention", "")]
        let bytes: [UInt8]
        do throws(ObjectStorageError) {
            bytes = try await client.perform(call).body
        } catch {
            // The object is under none, or its bucket keeps none: setting one tells which.
            guard error.code == .unsupported else { throw error }
            return nil
        }
        let answer = try document(bytes, call)
        guard let mode = answer["Mode"].flatMap({ Retention.Mode(rawValue: $0.text.lowercased()) }),
            let until = answer["RetainUntilDate"].flatMap({ CalendarTime.parse(rfc3339: $0.text) })
        else { return nil }
        return Retention(mode: mode, until: until)
    }
}
