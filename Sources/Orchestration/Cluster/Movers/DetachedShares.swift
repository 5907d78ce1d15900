internal import Basics
internal import Kubernetes

/// How several movers without a process stand that store one volume side by side, told from the run's Lease, its Jobs (an
/// Indexed one, or one for each share) and their pods. Pure.
struct DetachedShares: Sendable {
    /// By share.
    let standings: [MoverStanding]
    /// What the Lease does not say yet.
    let news: [Int: MoverResult]
    /// Those that the run's Jobs have made: anybody may give a pod of a namespace the run's label.
    let pods: [KubernetesObject]
    /// The uid of the only or the first Job; empty where there is none.
    let job: String

    init(_ lease: KubernetesObject, jobs: [KubernetesObject], pods: [KubernetesObject]) {
        let count = MoverLease.shares(lease)
        job = jobs.first?.uid ?? ""
        let pods = jobs.flatMap { MoverStanding.pods(pods, ofJob: $0.uid) }
        var standings: [MoverStanding]
        if let job = jobs.first, job["spec", "completionMode"]?.string != IndexedJobs.mode {
            standings = (0..<count).map { share in
                let own = jobs.first { $0.labels[MoverJob.shareLabel] == "\(share)" }
                let ofJob = own.map { MoverStanding.pods(pods, ofJob: $0.uid) } ?? []
                return MoverStanding(job: own, pods: ofJob, claim: "")
            }
        } else {
            standings = MoverStanding.each(of: count, job: jobs.first, pods: pods, claim: "")
        }
        var news: [Int: MoverResult] = [:]
        for share in 0..<count {
            let text = lease.annotations[MoverJob.resultAnnotation(index: share)]
            if let known = text.flatMap({ MoverResult(parsing: $0, claim: "") }) {
                // Its pod may be gone by now.
                standings[share] = .ended(known)
            } else if case .ended(let result) = standings[share] {
                news[share] = result
            }
        }
        self.standings = standings
        self.news = news
        self.pods = pods
    }

    /// What all of them came to; nil while some are at work.
    var results: [MoverResult]? {
        let ended = standings.compactMap { if case .ended(let result) = $0 { result } else { nil } }
        return ended.count == standings.count ? ended : nil
    }

    /// What has one of them fail, and with it all.
    var failure: MoverResult? {
        for case .ended(let result) in standings where !result.isMoved { return result }
        return MoverStanding.failure(standings, pods: pods).map { DetachedMover.failure($0) }
    }

    /// The pods that run.
    var running: [String] { standings.compactMap { if case .running(let pod) = $0 { pod } else { nil } } }

    /// Whether one of them has come to its end.
    var hasEnded: Bool { standings.contains { if case .ended = $0 { true } else { false } } }

    /// What keeps one from beginning; empty for nothing.
    var obstacle: String {
        for case .waiting(let reason) in standings where !reason.isEmpty { return reason }
        return ""
    }
}
