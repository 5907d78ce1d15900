internal import HTTPTransport
internal import Logging

/// The server's version.
package struct ServerVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int
    /// `v1.31.2+k3s1`
    package var text: String

    package init(major: Int, minor: Int, text: String = "") {
        self.major = major
        self.minor = minor
        self.text = text.isEmpty ? "v\(major).\(minor)" : text
    }

    package static func < (left: ServerVersion, right: ServerVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { text }
}

extension KubernetesClient {
    /// The server's version.
    package func serverVersion() async throws(KubernetesError) -> ServerVersion {
        let json = try await json(APICall(path: "/version"))
        // Some vendors write `29+`.
        func number(_ key: String) -> Int? { Int((json[.key(key)]?.string ?? "").prefix { $0.isNumber }) }
        guard let major = number("major"), let minor = number("minor") else {
            throw KubernetesError(.malformed, "cannot get /version: the answer names no version")
        }
        return ServerVersion(major: major, minor: minor, text: json["gitVersion"]?.string ?? "")
    }

    /// All groups that the server serves, the core group first. Remembered for ten minutes.
    package func groups() async throws(KubernetesError) -> [APIGroup] {
        try await groups(youngerThan: DiscoveryCache.lifeSeconds)
    }

    private func groups(youngerThan seconds: Double) async throws(KubernetesError) -> [APIGroup] {
        if let groups = discovery.groups(youngerThan: seconds) { return groups }
        let core = try await json(APICall(path: "/api"))
        let others = try await json(APICall(path: "/apis"))
        var groups = [APIGroup(name: "", versions: (core["versions"]?.array ?? []).compactMap(\.string))]
        for group in others["groups"]?.array ?? [] {
            guard let name = group["name"]?.string else { continue }
            var versions = (group["versions"]?.array ?? []).compactMap { $0["version"]?.string }
            if let preferred = group["preferredVersion", "version"]?.string {
                versions.removeAll { $0 == preferred }
                versions.insert(preferred, at: 0)
            }
            groups.append(APIGroup(name: name, versions: versions))
        }
        discovery.put(groups)
        return groups
    }

    /// What the server serves in `v1`, `batch/v1`, …; empty when it does not serve that at all. Remembered for ten
    /// minutes.
    package func resources(in apiVersion: String) async throws(KubernetesError) -> [APIResource] {
        try await resources(in: apiVersion, youngerThan: DiscoveryCache.lifeSeconds)
    }

    private func resources(
        in apiVersion: String, youngerThan seconds: Double, patience: Patience? = nil
    ) async throws(KubernetesError) -> [APIResource] {
        if let resources = discovery.resources(apiVersion, youngerThan: seconds) { return resources }
        let parts = GroupVersionKind(apiVersion: apiVersion, kind: "")
        let place = [parts.group, parts.version].filter { !$0.isEmpty }.map { URLEncoding.encode($0) }
        let list: JSONValue
        do throws(KubernetesError) {
            var call = APICall(path: "/\(parts.group.isEmpty ? "api" : "apis")/\(place.joined(separator: "/"))")
            call.patience = patience
            list = try await json(call)
        } catch {
            guard error.code == .notFound || error.isUnservedPath else { throw error }
            list = [:]
        }
        let resources = Self.resources(list, parts)
        discovery.put(resources, apiVersion)
        return resources
    }

    /// The resources of an `APIResourceList`, their subresources gathered.
    private static func resources(_ list: JSONValue, _ place: GroupVersionKind) -> [APIResource] {
        var resources: [APIResource] = []
        var subresources: [String: Set<String>] = [:]
        for element in list["resources"]?.array ?? [] {
            guard let name = element["name"]?.string, let kind = element["kind"]?.string else { continue }
            if let slash = name.firstIndex(of: "/") {
                subresources[String(name[..<slash]), default: []].insert(String(name[name.index(after: slash)...]))
                continue
            }
            resources.append(
                APIResource(
                    group: place.group, version: place.version, kind: kind, plural: name,
                    singular: element["singularName"]?.string ?? "",
                    isNamespaced: element["namespaced"]?.bool ?? false,
                    verbs: Set((element["verbs"]?.array ?? []).compactMap(\.string)),
                    shortNames: (element["shortNames"]?.array ?? []).compactMap(\.string)))
        }
        return resources.map { resource in
            var resource = resource
            resource.subresources = subresources[resource.plural] ?? []
            return resource
        }
    }

    /// The resource of exactly this kind and version; nil when the server does not serve it.
    package func resource(_ kind: GroupVersionKind) async throws(KubernetesError) -> APIResource? {
        for seconds in [DiscoveryCache.lifeSeconds, DiscoveryCache.missSeconds] {
            let found = try await resources(in: kind.apiVersion, youngerThan: seconds).first { $0.kind == kind.kind }
            if let found { return found }
        }
        return nil
    }

    /// The resource of an object. Throws `.unsupported` when the server does not serve its kind.
    package func resource(of object: KubernetesObject) async throws(KubernetesError) -> APIResource {
        guard let resource = try await resource(object.groupVersionKind) else {
            throw KubernetesError(
                .unsupported,
                "the server does not serve \(object.groupVersionKind) (\(object.label)); install what defines that kind"
            )
        }
        return resource
    }

    /// The resource of this kind, in this version if it is served, else in another one; nil when there is none.
    package func resourceInAnyVersion(of kind: GroupVersionKind) async throws(KubernetesError) -> APIResource? {
        if let resource = try await resource(kind) { return resource }
        return try await resource(group: kind.group, kind: kind.kind)
    }

    /// The resource of this kind in the group's preferred version, else in another one; nil when there is none. Throws when
    /// the group's server is down: whether it serves the kind is not known then.
    package func resource(group: String, kind: String) async throws(KubernetesError) -> APIResource? {
        try await firstResource(ofGroup: group) { $0.kind == kind }
    }

    /// What people mean by `pods`, `po`, `Pod`, `jobs.batch`, `job.v1.batch`; nil when nothing is called so. Groups are
    /// asked in the server's order, the core group first; a group that was not named and whose server is down is passed over
    /// soon.
    package func resource(named name: String) async throws(KubernetesError) -> APIResource? {
        let parts = name.split(separator: ".", maxSplits: 1)
        guard let word = parts.first?.lowercased() else { return nil }
        let matches: (APIResource) -> Bool = { resource in
            resource.plural == word || resource.singular == word || resource.kind.lowercased() == word
                || resource.shortNames.contains(word)
        }
        guard parts.count == 2 else { return try await firstResource(ofGroup: nil, where: matches) }
        let place = String(parts[1])
        if let found = try await firstResource(ofGroup: place, where: matches) { return found }
        let version = place.prefix { $0 != "." }
        let group = place.dropFirst(version.count + 1)
        return try await resources(in: group.isEmpty ? String(version) : "\(group)/\(version)").first(where: matches)
    }

    /// The first resource that matches, in the group that is meant (with the client's patience) or, without one, in any
    /// (with little for each).
    private func firstResource(
        ofGroup meant: String?, where matches: (APIResource) -> Bool
    ) async throws(KubernetesError) -> APIResource? {
        var down: [String: KubernetesError] = [:]
        for seconds in [DiscoveryCache.lifeSeconds, DiscoveryCache.missSeconds] {
            for group in try await groups(youngerThan: seconds) where meant == nil || meant == group.name {
                for version in group.versions {
                    let apiVersion = GroupVersionKind(group: group.name, version: version, kind: "").apiVersion
                    // What was down in the first round is not waited for in the second.
                    guard down[apiVersion] == nil else { continue }
                    do throws(KubernetesError) {
                        let resources = try await resources(
                            in: apiVersion, youngerThan: seconds, isMeant: meant != nil)
                        if let found = resources.first(where: matches) { return found }
                    } catch {
                        // An aggregated API whose server is down must not hide the others.
                        guard error.code == .unavailable || error.code == .timedOut else { throw error }
                        logger.warning(
                            "a group of the API is down", metadata: ["group": "\(apiVersion)", "error": "\(error)"])
                        down[apiVersion] = error
                    }
                }
            }
        }
        if meant != nil, let error = down.min(by: { $0.key < $1.key })?.value { throw error }
        return nil
    }

    /// As `resources(in:youngerThan:)`; one of many groups is not waited for long: the server of an aggregated API that is
    /// gone stays gone, and the API server tells it at once or after a time-out of its own.
    private func resources(
        in apiVersion: String, youngerThan seconds: Double, isMeant: Bool
    ) async throws(KubernetesError) -> [APIResource] {
        guard !isMeant else { return try await resources(in: apiVersion, youngerThan: seconds) }
        var little = patience
        little.totalSeconds = min(patience.totalSeconds, 3)
        little.attemptSeconds = min(patience.attemptSeconds, 10)
        do throws(KubernetesError) {
            return try await resources(in: apiVersion, youngerThan: seconds, patience: little)
        } catch {
            // That is the API server itself, which may be back soon.
            guard error.code == .unreachable else { throw error }
            return try await resources(in: apiVersion, youngerThan: seconds)
        }
    }
}
