//! The page's words in the languages it speaks.

/// One language's words.
pub(crate) struct Words {
    pub(crate) lang: &'static str,
    pub(crate) other_lang: &'static str,
    pub(crate) other_name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) sign_up: &'static str,
    pub(crate) users: &'static str,
    pub(crate) no_users: &'static str,
    pub(crate) parked: &'static str,
    pub(crate) no_parked: &'static str,
    pub(crate) replay: &'static str,
    pub(crate) replay_all: &'static str,
    pub(crate) drop: &'static str,
    pub(crate) drop_all: &'static str,
    pub(crate) user: &'static str,
    pub(crate) failures: &'static str,
    pub(crate) mails: &'static str,
    pub(crate) no_mails: &'static str,
    pub(crate) queued: &'static str,
    pub(crate) retrying: &'static str,
    pub(crate) sent: &'static str,
    pub(crate) gave_up: &'static str,
    pub(crate) attempt: &'static str,
    pub(crate) next_in: &'static str,
    pub(crate) ok: &'static str,
    pub(crate) unsent: &'static str,
    pub(crate) trouble: &'static str,
}

static ENGLISH: Words = Words {
    lang: "en",
    other_lang: "zh",
    other_name: "中文",
    title: "Sign-up",
    intro: "Who signs up gets a mail. A mail that fails is tried again, each pause twice as long as the last.",
    name: "Name",
    email: "E-mail",
    sign_up: "Sign up",
    users: "Users",
    no_users: "Nobody yet.",
    parked: "Given up",
    no_parked: "Nothing was given up.",
    replay: "Try again",
    replay_all: "Try all again",
    drop: "Drop",
    drop_all: "Drop all",
    user: "User",
    failures: "failures",
    mails: "Mails that arrived as files",
    no_mails: "None yet.",
    queued: "queued",
    retrying: "retrying",
    sent: "sent",
    gave_up: "gave up",
    attempt: "Attempt",
    next_in: "next in",
    ok: "sent",
    unsent: "Messages waiting for the broker:",
    trouble: "Not all can be shown:",
};

static CHINESE: Words = Words {
    lang: "zh",
    other_lang: "en",
    other_name: "English",
    title: "用户注册",
    intro: "注册成功后会收到一封邮件。发送失败会自动重发，每次等待的时间是上一次的两倍。",
    name: "姓名",
    email: "邮箱",
    sign_up: "注册",
    users: "用户",
    no_users: "还没有人注册。",
    parked: "已放弃",
    no_parked: "没有被放弃的邮件。",
    replay: "重试",
    replay_all: "全部重试",
    drop: "丢弃",
    drop_all: "全部丢弃",
    user: "用户",
    failures: "次失败",
    mails: "已送达的邮件（文件）",
    no_mails: "还没有。",
    queued: "排队中",
    retrying: "等待重发",
    sent: "已发送",
    gave_up: "已放弃",
    attempt: "第几次尝试：",
    next_in: "距下次重发",
    ok: "成功",
    unsent: "等待发往消息队列：",
    trouble: "部分内容无法显示：",
};

impl Words {
    /// The words for a language or an `Accept-Language` header, English unless it begins with Chinese.
    pub(crate) fn of(wanted: &str) -> &'static Self {
        if wanted.trim_start().to_ascii_lowercase().starts_with("zh") { &CHINESE } else { &ENGLISH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_found_and_point_at_each_other() {
        for (wanted, lang) in [("zh-CN,zh;q=0.9", "zh"), ("de,en", "en"), ("", "en")] {
            assert_eq!(Words::of(wanted).lang, lang, "{wanted}");
        }
        assert_eq!(Words::of(ENGLISH.other_lang).lang, "zh");
        assert_eq!(Words::of(CHINESE.other_lang).lang, "en");
    }
}
