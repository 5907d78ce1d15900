internal import Basics
internal import HTTPTransport
package import ObjectStorage

extension S3ObjectStore {
    /// Bytes of a page of 1000 objects: a name of 1024 bytes percent-encoded three-fold, and 500 bytes around it.
    private static let maximumPageBytes = 8 << 20

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try checkPrefix(prefix)
        let (call, page, date) = try await page(prefix, token, delimiter: nil)
        var objects: [ObjectAttributes] = []
        let isEncoded = page["EncodingType"]?.text == "url"
        for entry in page.all("Contents") {
            guard let name = entry["Key"]?.text, let size = entry["Size"].flatMap({ UInt64($0.text) }),
                let modified = entry["LastModified"].flatMap({ CalendarTime.parse(rfc3339: $0.text) })
            else {
                throw ObjectStorageError(
                    .corrupted, "\(call.failing(client.configuration.location)): an entry of the listing is not whole")
            }
            let key = isEncoded ? PercentEncoding.decode(name) : name
            guard let relative = client.configuration.location.relativeKey(key) else { continue }
            let tag = Self.tag(entry["ETag"]?.text ?? "")
            objects.append(ObjectAttributes(key: relative, size: size, tag: tag, modified: modified))
        }
        return ObjectPage(objects: objects, next: try next(page, token, call), date: date)
    }

    /// The parts of keys that begin with `prefix`, up to and with the next `delimiter`, each once: the "directories"
    /// one level below. All pages; throws what `list` throws.
    package func listCommonPrefixes(
        prefix: String, delimiter: String = "/"
    ) async throws(ObjectStorageError) -> [String] {
        try checkPrefix(prefix)
        var prefixes: [String] = []
        var token: String?
        repeat {
            let (call, page, _) = try await page(prefix, token, delimiter: delimiter)
            let isEncoded = page["EncodingType"]?.text == "url"
            for entry in page.all("CommonPrefixes") {
                guard let name = entry["Prefix"]?.text else { continue }
                let key = isEncoded ? PercentEncoding.decode(name) : name
                if let relative = client.configuration.location.relativeKey(key) { prefixes.append(relative) }
            }
            token = try next(page, token, call)
        } while token != nil
        return prefixes
    }

    private func page(
        _ prefix: String, _ token: String?, delimiter: String?
    ) async throws(ObjectStorageError) -> (S3Call, XMLElement, Timestamp) {
        var call = S3Call(action: "list", label: nil, method: .get, key: nil)
        if !prefix.isEmpty { call.label = "\(prefix)*" }
        call.query = [
            ("list-type", "2"), ("max-keys", "1000"), ("encoding-type", "url"),
            ("prefix", client.configuration.location.objectKey(prefix)),
        ]
        if let delimiter { call.query.append(("delimiter", delimiter)) }
        if let token { call.query.append(("continuation-token", token)) }
        let (response, bytes) = try await client.perform(call, maximumBytes: Self.maximumPageBytes)
        let page = try document(bytes, call)
        guard page.name == "ListBucketResult" else {
            throw ObjectStorageError(
                .failed,
                "\(call.failing(client.configuration.location)): the server answers with \(page.name); is it an S3 server?"
            )
        }
        return (call, page, client.date(response))
    }

    private func next(_ page: XMLElement, _ token: String?, _ call: S3Call) throws(ObjectStorageError) -> String? {
        guard page["IsTruncated"]?.text == "true" else { return nil }
        guard let next = page["NextContinuationToken"]?.text, !next.isEmpty, next != token else {
            throw ObjectStorageError(
                .corrupted,
                "\(call.failing(client.configuration.location)): the listing goes on and the server does not say where")
        }
        return next
    }
}
