"""Words that say nothing about what a question is about, by language, and the particles that Korean adds to words.

They are data: `search_terms` folds them as it folds every text. In scripts without spaces they are pairs of characters
and single ones. A word that means something in another of these languages is left out.
"""

STOP_WORDS = {
    "English": """a about all also am an and any are as at be been but by can could did do does doing for from get
        had has have he her hers him his how i if in into is it its itself just let like me more most my myself no
        not now of on or our ours out over own please s she should so some such t tell than that the their theirs
        them then there these they this those to too up us user very was we were what when where which who whom
        why will with would you your yours""",
    "German": """aber als am auch auf aus bei bin bist da das dass dein deine dem den der des dich die dir du ein
        eine einem einen einer er es für hat hatte habe haben hast ich ihm ihn ihr im ist ja kann kannst mein
        meine meinem meinen meiner mich mir mit nach nicht noch nur oder seine sich sie sind so über um und uns
        unser von vor wann war was wie wo wer welche welcher welches wenn wir wird zu zum zur""",
    "French": """au aux avec ce ces cette comment c d dans de des du elle elles en est et être il ils j je l la le
        les leur lui m ma mais me mes moi mon n ne nos notre nous on ou où par pas pour qu quand que quel quelle
        quelles quels qui quoi s sa se ses si son sont sur ta te tes toi ton tu un une vos votre vous y""",
    "Spanish, Italian, Portuguese": """al algo como cómo con cual cuál cuando cuándo de del dónde donde el ella
        ellos en era es esta está este esto eu ha hay he la las le lo los me mi mis mucho muy más no nos o para
        pero por porque que qué quien quién se ser si sin sobre soy su sus también te tengo tiene tu tus un una
        uno y ya yo che chi cosa come da dei della di dove e gli ho i il io mio mia miei nel non per più quale
        quando quanto sono sua suo a as os do dos das na nas em um uma com meu minha meus minhas qual onde é são
        tem não""",
    "Polish": """a ale bardzo być co czy dla do i ich in jak jaka jaki jakie jako jego jej jest jestem ja kiedy
        kto która które który ma mam mi mnie moim moja moje mojego mój na nie o od oraz po przez są się swoje ten
        to tu ty w we z za ze że gdzie""",
    "Turkish": """acaba ama ben bana beni benim bir bu çok da daha de en gibi hangi için ile kim mi mı mu mü ne
        neden nasıl nedir nerede o olan olarak onun sen şu ve veya ya""",
    "Vietnamese": """ai anh bạn bị cái các cho có của cũng đã đang để đó được em gì hay hơn không là làm lại mình
        một nào này nên nếu những như ở rất sao sẽ ta thì tôi trong từ và vào về với""",
    "Indonesian": """ada adalah aku anda apa bagaimana dan dari dengan di dia ini itu kami kamu kapan ke kita mana
        mereka nya oleh pada saya siapa tidak untuk yang""",
    "Russian, Ukrainian": """а в во вот вы да для до его ее её же за и из или их к как какая какие какой когда кто
        ли мне меня мое моё моего моей мой моих мою моя мы на не него ней нет ни но о об он она они от по при с
        свой свою себя со так там то тоже ты у уже что чтобы эта эти это я где чем есть був була ви він вона вони
        є з зі і й його її мене мені мого моєї ми про та ти хто це що як який яка де коли мій""",
    "Greek": """από για δεν είμαι είναι ένα ένας έχει έχω η και με μια μας μου μπορώ να ο οι όταν πού που ποια
        ποιο ποιος πως πώς σε σου στα στη στην στο στον τα της τη την τι το τον του των ως""",
    "Arabic": """أنا أنت أي أين إلى إن أن الذي التي بعد بي عن على عند عندي في قد كان كم كيف كل لا لم لي لك ما ماذا
        متى مع من منذ نحن هذا هذه هل هو هي و يا اسمي""",
    "Persian": """آن ام است از این با به بود تا چه چی چرا چند چیست چگونه خود دارم دارد در را شد شما که کجا کجاست
        کدام کی برای ما من می ها های هست هم و یا یک""",
    "Hebrew": "אני אתה אם או איפה איך אין את אל היא הוא הם זה זו יש כי כל לי לך מה מי מתי של שלי שלך על עם לא גם",
    "Hindi": """और का की के को में से है हैं हूँ हूं था थी थे पर ने यह वह ये वे मैं मेरा मेरी मेरे मुझे हम हमारा
        आप क्या कौन कब कहाँ कहां कैसे क्यों नहीं भी हो एक इस उस तो ही कर लिए वाला सकते बताओ बताइए""",
    "Korean": """가 거 것 게 나 나는 나의 내 내가 너 네 는 는데 니 다 당신 더 데 도 뭐 뭐야 뭐예요 무엇 무엇인가요
        뭘 몇 살 그 누구 누구야 어디 어디야 언제 어떤 어떻게 왜 이 있 있는 있다 있어 있어요 있습니다 입니다 인가요
        이야 예요 저 저는 제 제가 좀 수 습니 니다 해요 하는 하다 합니 했어 세요 주세 은 을 를 의 에 에서 와 과 로
        인 한""",
    "Japanese": """です ます でし まし した して てい いる いま ある あり りま あっ とは いう のは のが のを には
        では でも こと もの から まで など ない なに なん なぜ どこ どの どう どん だれ いつ する すか ので ませ
        せん たち くだ ださ さい 私の 私は の私 僕の 俺の 何で 何を 何が 何の は何 私 僕 何 の は が を に で と
        も か よ ね い う た だ て な""",
    "Chinese": """的 了 是 我 你 您 他 她 它 们 在 有 和 与 不 没 吗 呢 吧 啊 什 么 怎 样 哪 谁 这 那 个 很 就 也
        都 要 会 能 可 以 请 问 给 对 及 或 把 被 为 从 到 上 下 里 用 想 说 让 多 少 几 什么 怎么 我的 你的 是什
        么是 哪里 哪个 这个 那个 可以 我是 我在 我有 我们 叫什 的是 请问 多少 如何 為 嗎 這 個 們 麼 說 對 與 會
        沒""",
    "Thai": """ที่ และ ของ ใน เป็น มี ฉัน ผม คุณ อะไร ไหน อยู่ ได้ ให้ จะ ไม่ กับ ว่า การ คือ ครับ ค่ะ เธอ นี้
        นั้น ไร คน""",
}

PARTICLES = (
    *("에서는", "이에요", "입니다", "습니다", "인가요", "한테서", "에게서", "으로는", "이라고", "까지는"),
    *("에서", "에게", "한테", "으로", "부터", "까지", "처럼", "보다", "이랑", "하고", "이나", "이다", "이야"),
    *("예요", "께서", "은", "는", "이", "가", "을", "를", "에", "의", "도", "로", "과", "와", "만", "랑"),
    *("나", "야", "님", "요"),
)
"""The longer ones first."""
