package import Kubernetes

/// What a user asks of a backup for one workload, or for one pod: by annotations, in a policy file, or on the command line.
package struct QuiescePolicy: Hashable, Sendable {
    /// How still the workload is while its volumes are taken.
    package enum Consistency: String, Sendable, CaseIterable {
        /// It writes a checkpoint and runs on: the last complete checkpoint is what is consistent.
        case checkpoint
        /// It is stopped until its volumes are taken, after a checkpoint if it can be asked for one.
        case pause
        /// It is stopped as with `pause`, and stays so until somebody resumes it.
        case stop
    }

    /// How it is asked for a checkpoint.
    package enum Request: Hashable, Sendable {
        /// A command in its container, without a shell around it.
        case command([String])
        /// A signal to process 1 of its container: `SIGUSR1`.
        case signal(String)
        /// An HTTP request to its pod, through the API server.
        case http(method: String, port: Int, path: String)
        /// A file that is made in its container, absolute: frameworks that look for one save when they see it.
        case file(String)
    }

    /// Which of its pods are asked.
    package enum Ranks: String, Sendable, CaseIterable {
        /// All at once: what saves on a signal mostly needs it in every process.
        case all
        /// The first one: it tells the others.
        case first
    }

    /// Whether routes that lead to its pods through an InferencePool get the weight 0 before it is stopped.
    package enum Drain: String, Sendable, CaseIterable {
        /// As far as it can be done: what keeps it from being done is told of, and it is stopped all the same.
        case auto
        /// It is not stopped when that cannot be done, or when its servers are not idle in time.
        case required
        /// Not at all: requests under way are cut off.
        case off
    }

    /// Nil when nobody says.
    package var consistency: Consistency?
    /// Nil: it is not asked; stopping it is all there is.
    package var request: Request?
    /// How long the checkpoint may take; nil for the default.
    package var timeout: GoDuration?
    /// Nil for the default: all pods of a cluster's workload, of a process's only the one that was named.
    package var ranks: Ranks?
    /// Empty for the pod's default one, else its first.
    package var container = ""
    /// Nil for `auto`.
    package var drain: Drain?
    /// How long it may take its servers to answer what they have begun; nil for the default.
    package var drainTimeout: GoDuration?
    /// Traps in spite of which it is stopped, by the words that refusals name.
    package var overrides: Set<String> = []

    package init(consistency: Consistency? = nil, request: Request? = nil, timeout: GoDuration? = nil) {
        self.consistency = consistency
        self.request = request
        self.timeout = timeout
    }

    /// The longest time that may be asked for.
    package static let longestTimeout = GoDuration(seconds: 24 * 3600)

    /// The policy with what it does not say from another one, member by member.
    package func filled(from other: QuiescePolicy) -> QuiescePolicy {
        var policy = self
        policy.consistency = consistency ?? other.consistency
        policy.request = request ?? other.request
        policy.timeout = timeout ?? other.timeout
        policy.ranks = ranks ?? other.ranks
        if container.isEmpty { policy.container = other.container }
        policy.drain = drain ?? other.drain
        policy.drainTimeout = drainTimeout ?? other.drainTimeout
        policy.overrides = overrides.union(other.overrides)
        return policy
    }

    /// A time as a policy has it.
    package static func timeout(seconds: Double) -> GoDuration { GoDuration(nanoseconds: Int64(seconds * 1e9)) }

    /// What an object's annotations ask for; nil when they ask for nothing. Strict: what is misspelled is refused, for a
    /// backup that passes over it would be believed consistent.
    package init?(of object: KubernetesObject) throws(WorkloadError) {
        let annotations = object.annotations
        let known = Set(Setting.allCases.map(\.annotation))
        let ours = ["becalm.io/checkpoint-", "becalm.io/drain-", "becalm.io/over"]
        let unknown = annotations.keys.filter { key in
            ours.contains(where: key.hasPrefix) && !known.contains(key)
        }.min()
        if let unknown {
            let names = known.subtracting([BecalmAnnotation.consistency]).sorted().joined(separator: ", ")
            throw WorkloadError("\(object.label): there is no annotation \(unknown); there are \(names)")
        }
        var given: [(setting: Setting, text: String)] = []
        for setting in Setting.allCases {
            if let text = annotations[setting.annotation] { given.append((setting, text)) }
        }
        guard !given.isEmpty else { return nil }
        for (setting, text) in given {
            guard set(setting, text) else {
                throw WorkloadError(
                    "\(object.label): the annotation \(setting.annotation) \(setting.form), not `\(text.prefix(80))`")
            }
        }
        let requests = given.map(\.setting).filter(\.isRequest)
        guard requests.count <= 1 else {
            let names = Setting.allCases.filter(\.isRequest).map(\.annotation)
            throw WorkloadError(
                "\(object.label) is to be asked for a checkpoint in \(requests.count) ways; leave one of "
                    + "\(names.dropLast().joined(separator: ", ")) and \(names.last ?? "")")
        }
    }
}
