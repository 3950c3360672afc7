"""Memories are found in any language: by words with another ending, spelling or particle, and in unspaced scripts.

Each language has five memories, each with a question that it helps to answer. All of them belong to one owner.
"""

from millrace.worker.store import memories
from millrace.worker.store.database import Database

COUNT = 8  # as many as a prompt has
RECALL = 0.9

PAIRS: dict[str, list[tuple[str, str]]] = {
    "English": [
        ("Her dog is called Rex", "What's my dog's name?"),
        ("Likes walking in the mountains", "Where could I walk on a mountain?"),
        ("Is allergic to peanuts", "Does this cake with peanut butter suit me?"),
        ("Works as a nurse in Leeds", "Any tips for nurses who do night shifts?"),
        ("Plays the violin", "Which violins are good for beginners?"),
    ],
    "German": [
        ("Die Katze des Nutzers heißt Mimi", "Wie heißen meine Katzen?"),
        ("Arbeitet bei Firma Müller in Köln", "Was weißt du über Mueller?"),
        ("Trinkt am liebsten grünen Tee", "Welchen gruenen Tee empfiehlst du?"),
        ("Wohnt in der Goethestraße", "Wo ist die Goethestrasse?"),
        ("Lernt Klavier spielen", "Welches Klavierstück soll ich als Nächstes lernen?"),
    ],
    "French": [
        ("Le chien de l'utilisateur s'appelle Médor", "Comment s'appellent mes chiens ?"),
        ("Habite à Besançon", "Quel temps fait-il a Besancon ?"),
        ("Apprend l'œnologie", "Un livre d'oenologie à conseiller ?"),
        ("Est végétarienne", "Une recette végétarien pour ce soir ?"),
        ("Travaille comme infirmière", "Des idées de cadeau pour une infirmiere ?"),
    ],
    "Spanish": [
        ("Su gata se llama Luna", "¿Cómo se llaman mis gatas?"),
        ("Vive en Málaga", "¿Qué puedo hacer en malaga este fin de semana?"),
        ("Estudia programación", "¿Qué lenguaje de programacion me conviene?"),
        ("Le gustan las montañas", "¿Qué montaña subo en otoño?"),
        ("Es alérgico al marisco", "Tengo alergia, ¿esta paella lleva mariscos?"),
    ],
    "Polish": [
        ("Kot użytkownika nazywa się Filemon", "Jak się nazywa mój kot?"),
        ("Mieszka w Krakowie", "Co robić w Kraków w weekend?"),
        ("Uczy się programowania", "Jaka książka o programowaniu?"),
        ("Lubi kawę z mlekiem", "Jaka kawa jest dobra z mlekiem?"),
        ("Gra na skrzypcach w Łodzi", "Gdzie w Lodzi kupię struny do skrzypiec?"),
    ],
    "Turkish": [
        ("Kedisinin adı Pamuk", "Kedimin adı ne?"),
        ("İstanbul'da yaşıyor", "istanbul'da hava nasıl?"),
        ("Iğdır'da doğdu", "Igdir hakkında ne biliyorsun?"),
        ("Kahveyi şekersiz içer", "Kahve nasıl yapılır?"),
        ("Öğretmen olarak çalışıyor", "Öğretmenler günü ne zaman?"),
    ],
    "Russian": [
        ("Собаку пользователя зовут Рекс", "Как зовут мою собаку?"),
        ("Живёт в Москве", "Какая погода в Москва-Сити?"),
        ("Любит зелёный чай", "Какой зеленый чай купить?"),
        ("Учится играть на гитаре", "Какую гитару мне выбрать?"),
        ("Работает учителем", "Что подарить учителю?"),
    ],
    "Greek": [
        ("Η γάτα του χρήστη λέγεται Ήρα", "Πώς λένε τη γάτα μου;"),
        ("Μένει στη Θεσσαλονίκη", "Τι καιρό κάνει στη θεσσαλονικη;"),
        ("Πίνει πολύ καφέ", "Ποιος καφές είναι καλύτερος;"),
        ("Μαθαίνει κιθάρα", "Ποια κιθάρες προτείνεις;"),
        ("Είναι δάσκαλος", "Τι δώρο να πάρω για τους δασκάλους;"),
    ],
    "Arabic": [
        ("قطة المستخدم اسمها لولو", "ما اسم قطتي؟"),
        ("يحب القهوة", "كيف أصنع قهوة جيدة؟"),
        ("يعيش في القاهرة", "ما حالة الطقس بالقاهره؟"),
        ("يعمل مهندسًا", "نصائح للمهندسين الجدد؟"),
        ("أخته اسمها فاطمة", "ماذا أهدي لأختي فاطمه؟"),
    ],
    "Hindi": [
        ("उपयोगकर्ता के कुत्ते का नाम शेरू है", "मेरे कुत्ता का नाम क्या है?"),
        ("हिन्दी में किताबें पढ़ता है", "हिंदी की कौन सी किताब अच्छी है?"),
        ("दिल्ली में रहता है", "दिल्ली का मौसम कैसा है?"),
        ("चाय पसंद है", "अच्छी चाय कैसे बनाएं?"),
        ("गिटार बजाना सीख रहा है", "कौन सा गिटार खरीदूं?"),
    ],
    "Korean": [
        ("커피를 좋아해요", "커피가 뭐야?"),
        ("개를 키워요", "우리 개가 아파요"),
        ("서울에 살아요", "서울의 날씨는 어때?"),
        ("Notion에 메모를 저장해요", "Notion은 어떻게 써요?"),
        ("기타를 배우고 있어요", "좋은 기타 추천해 줘"),
    ],
    "Japanese": [
        ("家に猫がいます", "猫の名前は?"),
        ("コーヒーが好きです", "おいしいコーヒーの淹れ方は?"),
        ("東京に住んでいます", "東京タワーはどこですか?"),
        ("iPhoneを使っています", "iPhoneのケースを選んで"),
        ("ピーナッツアレルギーがあります", "ピーナッツの入ったお菓子を食べてもいい?"),
    ],
    "Chinese": [
        ("用户养了一只猫", "我的猫不吃东西怎么办?"),
        ("住在上海", "上海明天天气怎么样?"),
        ("喜欢喝咖啡", "怎么煮咖啡?"),
        ("是一名软件工程师", "软件工程师怎么准备面试?"),
        ("对花生过敏", "这个蛋糕有花生,我能吃吗?"),
    ],
    "Thai": [
        ("เลี้ยงแมวชื่อมะลิ", "แมวของฉันชื่ออะไร"),
        ("อาศัยอยู่ที่เชียงใหม่", "อากาศที่เชียงใหม่เป็นอย่างไร"),
        ("ชอบดื่มกาแฟ", "ชงกาแฟอย่างไร"),
        ("แพ้ถั่วลิสง", "ขนมนี้มีถั่วลิสงไหม"),
        ("กำลังเรียนกีตาร์", "ควรซื้อกีตาร์แบบไหน"),
    ],
}


def test_memories_are_found_in_every_language(database: Database) -> None:
    for pairs in PAIRS.values():
        for fact, _ in pairs:
            assert database.run(lambda session, fact=fact: memories.add(session, "ada", fact))
    found = missed = results = 0
    lines: list[str] = []
    for language, pairs in PAIRS.items():
        for fact, question in pairs:
            records = database.run(lambda session, each=question: memories.search(session, "ada", each, COUNT))
            contents = [record.content for record in records]
            results += len(contents)
            found += fact in contents
            missed += fact not in contents
            if fact not in contents:
                lines.append(f"{language}: {question} does not find {fact}, but {contents}")
    recall, precision = found / (found + missed), found / max(1, results)
    print(f"recall {recall:.0%}, precision {precision:.0%} of {found + missed} questions", *lines, sep="\n")
    assert recall >= RECALL, lines
